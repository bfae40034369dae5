"""Where student code runs: in bubblewrap's namespaces, unprivileged, without network, and with limits on everything.

Inside there is a file system of its own: Python with its packages, read-only, and an empty /tmp of 16 MB. No home, no
checkout, no other submission, no process but its own. What comes out is one pipe, read up to a limit.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlib.course import CourseError, codec

BUBBLEWRAP, WEAK = "bubblewrap", "subprocess with limits"
FIRST_UID = 61_000  # of the unprivileged user of each worker, where the grader runs as root
START_SECONDS = 60  # for Python and torch to load
PLACE = "/grader"  # inside: where worker.py and codec.py are
START = f"import sys; sys.path.insert(0, {PLACE!r}); from tlib.course import worker; worker.main()"


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Bytes and seconds; `cpu`, `wall` and `size` (of the answer) are for an exercise."""

    cpu: int = 20
    wall: float = 30.0
    size: int = 4_000_000
    memory: int = 4 << 30  # address space of a process, of which torch takes half
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
        return _parse(self._communicate(job, slot, seconds, most), len(exercises))

    def _communicate(self, job: bytes, slot: int, seconds: float, most: int) -> bytes:
        """Start the worker, hand it the job, and read what it says, up to `most` bytes and `seconds`."""
        command, environment = self._command(slot), {"PATH": "/usr/bin:/bin"}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True, cwd="/",
        ) as process:  # fmt: skip
            timer = threading.Timer(seconds, process.kill)
            timer.start()
            try:
                threading.Thread(target=_feed, args=(process.stdin, job), daemon=True).start()
                return process.stdout.read(most)
            finally:
                timer.cancel()
                process.kill()  # bubblewrap's death takes every process inside with it

    def _command(self, slot: int) -> list[str]:
        root = os.geteuid() == 0
        limits = self.limits
        settings = {
            "site": _site_packages(),
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
    command += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL", "--hostname", "sandbox"]
    command += (
        ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user", "--disable-userns"]
    )
    for variable, value in (("OMP_NUM_THREADS", "1"), ("HOME", "/tmp"), ("PATH", "/usr/bin:/bin")):
        command += ["--setenv", variable, value]
    command += ["--ro-bind", "/usr", "/usr"]
    for folder in ("/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives"):
        command += ["--ro-bind-try", folder, folder]
    for folder in dict.fromkeys((sys.base_prefix, *_site_packages())):
        if not Path(folder).is_relative_to("/usr") and Path(folder).is_dir():
            for parent in reversed(Path(folder).parents[:-1]):
                command += ["--perms", "0755", "--dir", str(parent)]
            command += ["--ro-bind", folder, folder]
    for folder in _site_packages():
        if (own := Path(folder) / "tlib").is_dir():  # this library, with what it knows of the exercises
            command += ["--tmpfs", str(own)]
    for folder in (PLACE, f"{PLACE}/tlib", f"{PLACE}/tlib/course"):
        command += ["--perms", "0755", "--dir", folder]
    for file in ("worker.py", "codec.py"):
        command += ["--ro-bind", str(Path(__file__).with_name(file)), f"{PLACE}/tlib/course/{file}"]
    command += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(16 << 20), "--tmpfs", "/tmp"]
    return [*command, "--remount-ro", "/", "--chdir", "/tmp"]


def _site_packages() -> list[str]:
    """The folders of installed packages, without those of the user."""
    paths = sysconfig.get_paths()
    return list(dict.fromkeys([paths["purelib"], paths["platlib"], *site.getsitepackages()]))


def _feed(pipe: Any, job: bytes) -> None:
    try:
        pipe.write(job)
        pipe.close()
    except OSError:
        pass  # the worker is gone; what it did not say tells


def _parse(said: bytes, exercises: int) -> list[dict[str, Any]]:
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
                answer |= _checked(codec.unpack(frame))
        except (ValueError, KeyError, TypeError, RecursionError):
            answer["status"] = "garbled" if head else "died"
        answers.append(answer)
    return answers


def _checked(answer: Any) -> dict[str, Any]:
    """An exercise's frame, if it has the form that `tlib.course.worker` gives it. Raises ValueError if not."""
    errors, outcomes = answer["errors"], answer["outcomes"]
    if type(errors) is not list or not all(
        type(error) is dict and type(error.get("cell")) is int and type(error.get("raised")) is str for error in errors
    ):
        raise ValueError("errors of another form")
    if outcomes is not None and (type(outcomes) is not list or not all(type(each) is dict for each in outcomes)):
        raise ValueError("outcomes of another form")
    return {"errors": errors, "outcomes": outcomes}
