"""Where student code runs: in bubblewrap's namespaces, unprivileged, without network, and with limits on everything.

Inside there is a file system of its own: Python with its packages, read-only, and an empty /tmp of 16 MB. No home, no
checkout, no other submission, no process but its own. What comes out is one pipe, read up to a limit. Memory that no
limit of a process covers is watched from outside, and a filter refuses the system calls that would provide more of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlib.course import CourseError, codec, seccomp

BUBBLEWRAP, WEAK = "bubblewrap", "subprocess with limits"
FIRST_UID = 61_000  # of the unprivileged user of each worker, where the grader runs as root
START_SECONDS = 60  # for Python and torch to load
PLACE = "/grader"  # inside: where worker.py and codec.py are
WATCH_SECONDS = 0.1  # between two looks at the memory of a submission
START = f"import sys; sys.path.insert(0, {PLACE!r}); from tlib.course import worker; worker.main()"


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Bytes and seconds; `cpu`, `wall` and `size` (of the answer) are for an exercise."""

    cpu: int = 20
    wall: float = 30.0
    size: int = 4_000_000
    memory: int = 4 << 30  # address space of a process, of which torch takes half; resident, of all of them together
    processes: int = 8
    file_size: int = 1 << 20
    open_files: int = 64


@dataclass(frozen=True)
class Sandbox:
    """Runs submissions under one kind of isolation: BUBBLEWRAP, or WEAK (network and files of the user in reach)."""

    isolation: str
    limits: Limits = field(default_factory=Limits)

    def run(self, cells: list[str], exercises: list[dict[str, Any]], slot: int = 0) -> list[dict[str, Any]]:
        """Run cells, then every exercise's function on its cases.

        Args:
            cells: sources of the submission's code cells.
            exercises: {"function": name, "cases": [{"args": tuple, "weights": tensor or None}]} each.
            slot: number of the worker; two that run at the same time need different ones.

        Returns:
            For each exercise {"status", "errors", "outcomes"}: status "ok", "time", "size", "died" or "garbled";
            errors of cells; outcomes of `tlib.course.worker.call`, or None where there is no such function.
        """
        job = codec.pack({"cells": cells, "exercises": exercises})
        seconds = START_SECONDS + len(exercises) * self.limits.wall
        most = len(exercises) * (self.limits.size + 200)
        return _parse(self._communicate(job, slot, seconds, most), len(exercises), len(cells))

    def _communicate(self, job: bytes, slot: int, seconds: float, most: int) -> bytes:
        """Start the worker, hand it the job, and read what it says, up to `most` bytes and `seconds`."""
        command, environment = self._command(slot), {"PATH": "/usr/bin:/bin"}
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as refused:
            stdin.write(job)  # a file and no pipe: a worker that dies early breaks nothing here
            stdin.seek(0)
            if self.isolation == BUBBLEWRAP and (calls := seccomp.program()):
                refused.write(calls)
                refused.seek(0)
                command[1:1] = ["--seccomp", str(refused.fileno())]
            with subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
                start_new_session=True, cwd="/", pass_fds=[refused.fileno()],
            ) as process:  # fmt: skip
                done = threading.Event()
                watch = threading.Thread(target=self._watch, args=(process, seconds, done), daemon=True)
                watch.start()
                try:
                    return process.stdout.read(most)
                finally:
                    done.set()
                    watch.join()
                    _end(process, self.isolation)

    def _watch(self, process: subprocess.Popen, seconds: float, done: threading.Event) -> None:
        """Stop a worker that runs too long, and what fills more memory together than one process may, largest first."""
        until = time.monotonic() + seconds
        while not done.wait(WATCH_SECONDS):
            if time.monotonic() > until:
                _end(process, self.isolation)
                return
            resident = _inside(process.pid)
            total = sum(resident.values())
            for pid in sorted(resident, key=resident.get, reverse=True) if total > self.limits.memory else []:
                if total > self.limits.memory / 2:
                    _kill(pid)
                    total -= resident[pid]

    def _command(self, slot: int) -> list[str]:
        root = os.geteuid() == 0
        limits = self.limits
        settings = {
            "site": list(_packages().values() if self.isolation == BUBBLEWRAP else _packages()),
            "alone": self.isolation == BUBBLEWRAP,
            "uid": FIRST_UID + slot if root else None,
            "cpu": limits.cpu,
            "wall": limits.wall,
            "size": limits.size,
            "limits": {
                "AS": limits.memory,
                "NPROC": limits.processes,
                "FSIZE": limits.file_size,
                "NOFILE": limits.open_files,
                "CORE": 0,
            },
        }
        python = str(Path(sys.executable).resolve())
        if self.isolation == BUBBLEWRAP:
            return [*_bubblewrap(root), python, "-I", "-S", "-B", "-c", START, json.dumps(settings)]
        start = START.replace(repr(PLACE), repr(str(Path(__file__).parents[2])))
        return [python, "-I", "-S", "-B", "-c", start, json.dumps(settings)]


def choose(weak: bool = False) -> Sandbox:
    """The strongest sandbox that this machine has.

    Raises:
        CourseError: bubblewrap is missing or does not work here, and `weak` isolation was not asked for.
    """
    reason = "bubblewrap is not installed (on Debian: sudo apt-get install bubblewrap)"
    if shutil.which("bwrap"):
        tried = subprocess.run(
            [*_bubblewrap(os.geteuid() == 0), "/usr/bin/env", "true"], capture_output=True, text=True, check=False
        )
        if tried.returncode == 0:
            return Sandbox(BUBBLEWRAP)
        reason = f"bubblewrap does not work here: {tried.stderr.strip()[-200:]}"
    if weak:
        return Sandbox(WEAK)
    raise CourseError(
        f"{reason}. Without it, student code could read this machine's files and use its network; if nothing here "
        "needs keeping from it, ask for that with --weak-isolation."
    )


def _bubblewrap(root: bool) -> list[str]:
    """The command that opens the sandbox; as root the worker changes to an unprivileged user itself."""
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--as-pid-1"]  # nothing inside can kill or stop it, and it inherits what an exercise leaves behind
    command += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL", "--hostname", "sandbox"]
    command += (
        ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user", "--disable-userns"]
    )
    for variable, value in (("OMP_NUM_THREADS", "1"), ("HOME", "/tmp"), ("PATH", "/usr/bin:/bin")):
        command += ["--setenv", variable, value]
    # Before what is bound: the project itself may lie in /tmp.
    command += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(16 << 20), "--tmpfs", "/tmp"]
    command += ["--ro-bind", "/usr", "/usr"]
    for folder in ("/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives"):
        command += ["--ro-bind-try", folder, folder]
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        for parent in reversed(Path(sys.base_prefix).parents[:-1]):
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    for folder in ("/packages", PLACE, f"{PLACE}/tlib", f"{PLACE}/tlib/course"):
        command += ["--perms", "0755", "--dir", folder]
    for folder, inside in _packages().items():
        command += ["--ro-bind", folder, inside]
        if (Path(folder) / "tlib").is_dir():  # this library, with what it knows of the exercises
            command += ["--tmpfs", f"{inside}/tlib"]
    for file in ("worker.py", "codec.py"):
        command += ["--ro-bind", str(Path(__file__).with_name(file)), f"{PLACE}/tlib/course/{file}"]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]


def _packages() -> dict[str, str]:
    """The folders of installed packages, without those of the user, and where each is inside.

    Packages of an environment get a place that does not tell where the project lies.
    """
    paths = sysconfig.get_paths()
    folders = dict.fromkeys([paths["purelib"], paths["platlib"], *site.getsitepackages()])
    return {
        folder: folder if Path(folder).is_relative_to(sys.base_prefix) else f"/packages/{number}"
        for number, folder in enumerate(folders)
        if Path(folder).is_dir()
    }


def _inside(root: int) -> dict[int, int]:
    """The living processes that descend from a process, with their resident bytes."""
    parents, resident = {}, {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # it has just ended
            if entry.isdigit():
                state, parent, *rest = (
                    Path(f"/proc/{entry}/stat").read_text(errors="replace").rpartition(")")[2].split()
                )
                parents[int(entry)] = int(parent)
                if state not in "ZX":
                    resident[int(entry)] = int(rest[19]) * os.sysconf("SC_PAGE_SIZE")
    found, new = set(), {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return {pid: size for pid, size in resident.items() if pid in found}


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _end(process: subprocess.Popen, isolation: str) -> None:
    """Kill a worker with all that it started, and wait: whoever comes next has the same user and its limits."""
    inside = set(_inside(process.pid))
    if isolation != BUBBLEWRAP:
        process.kill()
    for pid in inside:  # the first one in bubblewrap's sandbox takes with it whatever has come meanwhile
        _kill(pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)  # bubblewrap buries its dead, and ends
    process.kill()
    process.wait()
    until = time.monotonic() + 5
    while inside and time.monotonic() < until:
        inside = {pid for pid in inside if _lives(pid)}
        time.sleep(0.005)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _parse(said: bytes, exercises: int, cells: int) -> list[dict[str, Any]]:
    """What a worker said, by exercise; anything that is not as it should be counts as no answer."""
    answers = []
    for _ in range(exercises):
        answer: dict[str, Any] = {"status": "died", "errors": [], "outcomes": None}
        length = int.from_bytes(said[:8], "big")
        head, said = said[8 : 8 + length], said[8 + length :]
        try:
            about = json.loads(head)
            size, status = int(about["size"]), str(about["status"])
            frame, said = said[:size], said[size:]
            answer["status"] = status if status in ("ok", "time", "size", "died") else "garbled"
            if status == "ok":
                answer |= _checked(codec.unpack(frame), cells)
        except Exception:  # the bytes may come from student code: any failure means the same
            answer["status"] = "garbled" if head else "died"
        answers.append(answer)
    return answers


def _checked(answer: Any, cells: int) -> dict[str, Any]:
    """An exercise's frame, if it has the form that `tlib.course.worker` gives it. Raises ValueError if not."""
    if type(answer) is not dict:
        raise ValueError("an answer of another form")
    errors, outcomes = answer["errors"], answer["outcomes"]
    if type(errors) is not list or not all(
        type(error) is dict
        and type(error.get("cell")) is int
        and 0 <= error["cell"] < cells
        and type(error.get("raised")) is str
        for error in errors
    ):
        raise ValueError("errors of another form")
    if outcomes is not None and (type(outcomes) is not list or not all(type(each) is dict for each in outcomes)):
        raise ValueError("outcomes of another form")
    return {"errors": errors, "outcomes": outcomes}
