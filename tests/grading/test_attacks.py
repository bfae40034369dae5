"""Attacks on the grader, in the real sandbox: none gains a point or sees what is hidden, and grading goes on.

`run_suite()` runs them all and counts those that succeed.
"""

import copy
import csv
import hmac
import html
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import pytest

from tests.grading import attacks
from tests.grading.attacks import CALLS, CELLS, PROBES, SENTINEL
from tests.grading.classroom import CHAPTER, ROOT, notebook, solution, task
from tlib.course import CourseError, assignment, grading, sandbox, seccomp, submissions, worker
from tlib.course.exercises import SETUP, stub
from tlib.course.grading import grade, grade_one
from tlib.course.sandbox import BUBBLEWRAP, WEAK, Limits, Sandbox
from tlib.course.submissions import Submission, collect

POINTS = {"layer-rate": 3, "pool-chunks": 5, "labels-worth": 6}
LIMITS = Limits(cpu=2, wall=2.5)
FIRST_UID = 61_500 + os.getpid() % 30 * 100  # users of our own: somebody else may grade on this machine meanwhile
NEEDED = "these attacks need bubblewrap, or they would be real ones"


@cache
def box() -> Sandbox:
    """The real sandbox, with less time for each exercise."""
    try:
        return replace(sandbox.choose(), limits=LIMITS)
    except CourseError as error:
        pytest.fail(f"{NEEDED}: {error}")


def honest(number: int = 0) -> bytes:
    """All solutions; the number makes it a file of its own."""
    return notebook(extra=f"student = {number}", place=1)


def stubs(first: str = "") -> bytes:
    return notebook({exercise: stub(solution(exercise)) for exercise in POINTS}, first, place=1)


def calling(name: str, exercise: str) -> str:
    """A cell with an attack of CALLS in the place of an exercise's function."""
    function = next(each.function for each in task().exercises if each.id == exercise)
    return attack_cell(function, CALLS[name].body, exercise)


def attack_cell(function: str, body: str, exercise: str) -> str:
    """The function with an attack's body; `honest` in it is the solution, `attack` itself."""
    right = f"honest_{function}"
    own = next(each.function for each in task().exercises if each.id == exercise)
    body = re.sub(r"\bhonest\b", right, re.sub(r"\battack\b", function, body))
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{solution(exercise).replace(f'def {own}(', f'def {right}(')}\n\ndef {function}(*args):\n{lines}\n"


def handed_in(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def by_student(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    return {row["student"]: row["by_exercise"] for row in rows}


def left_over() -> list[int]:
    """Processes of the sandbox's users, and what this process started for them."""
    found = [pid for pid in sandbox._inside(os.getpid()) if b"--unshare-pid" in command_of(pid)]
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if FIRST_UID <= os.stat(f"/proc/{entry}").st_uid < FIRST_UID + 100:
                found.append(int(entry))
        except OSError:
            pass
    return found


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(autouse=True)
def users_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "FIRST_UID", FIRST_UID)


Succeeded = list[str]


# Functions that attack: many exercises in one notebook, each with an attack in its place.
def calls_that_succeed(folder: Path) -> Succeeded:
    found, exercises, properties, cells = {each.id: each for each in task().exercises}, [], {}, [SETUP]
    for number, (name, attack) in enumerate([*CALLS.items(), ("nothing but honest", attacks.Call("", 6))]):
        own, function = found[attack.exercise], f"function_{number}"
        cell = copy.deepcopy(own.solution)
        cell.source = cell.source.replace(f"def {own.function}(", f"def {function}(")
        exercises.append(replace(own, id=name, function=function, solution=cell))
        properties[name] = task().properties[attack.exercise]
        cells.append(attack_cell(function, attack.body, attack.exercise) if attack.body else cell.source)
    many = grading.Assignment(CHAPTER, exercises, properties)
    submission = Submission("eve", "eve.ipynb", b"calls", cells=tuple(cells))
    result = grade_one(many, submission, b"secret", box(), 90, folder)
    earned = {name: sum(mark["points"] for mark in marks) for name, marks in result["marks"].items()}
    assert earned.pop("nothing but honest") == 6, "the exercise after all attacks"
    return [f"{name}: {points} points" for name, points in earned.items() if points != CALLS[name].earns]


# Cells that attack: whole notebooks above stubs, in one class with honest students who sit beside and between them.
def cells_that_succeed(folder: Path) -> Succeeded:
    files = {f"{number:02} {name}.ipynb": stubs(first) for number, (name, first) in enumerate(CELLS.items())}
    files |= {"00 honest.ipynb": honest(0), "05 honest.ipynb": honest(1), "99 honest.ipynb": honest(2)}
    rows = grade(task(), [handed_in(folder / "in", files)], folder / "out", box(), workers=1, progress=False)
    found = []
    for student, points in by_student(rows).items():
        if "honest" in student:
            assert points == POINTS, student
        elif sum(points.values()):
            found.append(student)
    secret, shown = (folder / "out" / "secret").read_bytes(), read_back(folder / "out")
    for number, (name, _) in enumerate(CELLS.items()):
        content = files[f"{number:02} {name}.ipynb"]
        inputs = {f"{each:.6g}" for each in numbers_of(inputs_of(content, secret))}
        assert len(inputs) > 50
        # Numbers tell what text would not; a part of a repr does, too.
        found += [f"{name}: inputs are shown" for text in shown if any(each in text for each in inputs)]
        found += [f"{name}: a long number" for text in shown if re.search(r"\d{30,}", text)]
        found += [f"{name}: {text[:40]}" for text in shown if "tensor(" in html.unescape(text)]
    return found


def read_back(out: Path) -> list[str]:
    """What students or instructors may read, and what a second run takes from the first."""
    return [path.read_text() for path in [*out.glob("marks.*"), *out.glob("feedback/*")]]


def inputs_of(content: bytes, secret: bytes) -> Any:
    """What is drawn for a file."""
    return grading.draw(task(), int(hmac.new(secret, content, "sha256").hexdigest(), 16))


def numbers_of(value: Any) -> list[float]:
    if isinstance(value, dict):
        return numbers_of(list(value.values()))
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers_of(item)]
    return [value] if type(value) is float and len(f"{value:.6g}") >= 7 else []


# One exercise attacks, the others are right: they keep their points, and so does whoever comes next.
BESIDE = [
    ("a crash", "layer-rate"),
    ("a fork bomb", "layer-rate"),
    ("children that go on", "pool-chunks"),
    ("many children that fill the memory", "layer-rate"),
    ("its own exercise as the locked checks", "labels-worth"),
]
FILLING = """\
import os, time
for _ in range(7):
    try:
        if os.fork() == 0: break
    except OSError:
        pass
held = [bytearray(os.urandom(1 << 20) * 600)]
time.sleep(60)"""
GOING_ON = """\
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: os.urandom(1 << 20)
os._exit(0)"""


def beside(name: str, exercise: str) -> bytes:
    """A notebook with one attack of BESIDE."""
    function = next(each.function for each in task().exercises if each.id == exercise)
    bodies = {"children that go on": GOING_ON, "many children that fill the memory": FILLING}
    if name in bodies:
        return notebook({exercise: attack_cell(function, bodies[name], exercise)})
    if name in CALLS:
        return notebook({exercise: calling(name, exercise)})
    book = assignment.notebook(task())
    ids = [cell.metadata["nbgrader"] for cell in book.cells if cell.metadata.get("nbgrader")]
    ids[-2]["grade_id"], ids[-1]["grade_id"] = ids[-1]["grade_id"], ids[-2]["grade_id"]
    return nbformat.writes(book).encode()


def beside_that_succeed(folder: Path) -> Succeeded:
    files = {f"{number}.ipynb": beside(*each) for number, each in enumerate(BESIDE)} | {"9.ipynb": honest()}
    tight = replace(box(), limits=replace(LIMITS, memory=3 << 30))
    peak = Peak()
    with peak:
        rows = grade(task(), [handed_in(folder / "in", files)], folder / "out", tight, workers=1, progress=False)
    points = by_student(rows)
    found = [] if peak.bytes < 5 << 30 else [f"{peak.bytes:,} bytes of memory"]
    for number, (name, exercise) in enumerate(BESIDE):
        if points[str(number)] != POINTS | {exercise: 0}:
            found.append(f"{name}: {points[str(number)]}")
    assert points["9"] == POINTS
    return found


class Peak:
    """The most memory that this process's descendants had together."""

    def __enter__(self) -> "Peak":
        self.bytes, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.1):
            self.bytes = max(self.bytes, sum(sandbox._inside(os.getpid()).values()))


# Looking for what is hidden, and for a way out.
def probes_that_succeed(folder: Path) -> Succeeded:
    cells, jobs = [SETUP], []
    labels, accuracy = [100, 400, 900], [0.31234567, 0.51234567, 0.81234567]
    curves = [(labels, accuracy, reached) for reached in (0.4444444, 0.6666666)]
    with hidden_things(folder) as port:
        for number, (name, body) in enumerate(PROBES.items()):
            lines = "\n".join(f"    {line}" for line in body.splitlines())
            cells.append(f"def probe_{number}(*args):\n    found = []\n{lines}\n    return found\n")
            args = curves if name == "expected values" else [(port,)]
            jobs.append({"function": f"probe_{number}", "cases": [{"args": each, "weights": None} for each in args]})
        answers = Sandbox(box().isolation, Limits(cpu=20, wall=30.0)).run(cells, jobs, 91)
    found: Succeeded = []
    for name, answer in zip(PROBES, answers, strict=True):
        assert answer["status"] == "ok", f"{name}: {answer['status']}, so it found out nothing"
        for outcome in answer["outcomes"]:
            assert "value" in outcome, f"{name}: {outcome}"
            found += [f"{name}: {each}" for each in outcome["value"] if name != "expected values"]
    reference = task().exercises[2].reference()
    seen = {each for outcome in answers[-1]["outcomes"] for each in outcome["value"]}
    assert repr(accuracy[0]) in seen, "the probe sees the inputs, which are the student's to see"
    return found + [f"expected value {curve}" for curve in curves if repr(float(reference(*curve))) in seen]


@contextmanager
def hidden_things(folder: Path) -> Iterator[int]:
    """A file, a variable, a process and two sockets that no student's code may reach; gives a port."""
    (folder / SENTINEL).write_text(SENTINEL)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"TLIB_SECRET": SENTINEL}))
        other = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", "input()", SENTINEL], stdin=subprocess.PIPE)
        )
        stack.callback(other.kill)
        here = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0tlib-attacks-{here.getsockname()[1]}")
        abstract.listen()
        yield here.getsockname()[1]


# Heads are the worker's own words; where the grader is no root, student code can reach the pipe that they go into.
HEADS = {
    "forged answers in the worker's pipe": 'head(0, "ok") * 3',
    "a size without end": 'number(24) + b\'{"size": 1e999, "status": 1}\'',
    "a size below zero": "head(-5)",
    "a status of its own": "head(5, '<script>') + b'right'",
    "a tensor in a head's place": "number(7) + b'[1, 2]x'",
    "a flood": "b'x' * 30_000_000",
}
INTO_THE_PIPE = """\
import json, os
def number(n): return n.to_bytes(8, "big")
def head(size, status="ok"):
    about = json.dumps({{"status": status, "size": size}}).encode()
    return number(len(about)) + about
for pid in (1, os.getppid()):
    for fd in range(64):
        try:
            with open(f"/proc/{{pid}}/fd/{{fd}}", "wb", buffering=0) as pipe: pipe.write({frame})
        except OSError: pass"""


def heads_that_succeed(folder: Path) -> Succeeded:
    found = []
    for number, (name, frame) in enumerate(HEADS.items()):
        submission = Submission("eve", "", name.encode(), cells=(INTO_THE_PIPE.format(frame=frame),))
        as_root = os.geteuid() == 0 and number % 2 == 0
        with mock.patch.object(os, "geteuid", lambda as_root=as_root: 0 if as_root else 1000):
            result = grade_one(task(), submission, b"secret", box(), 92, folder)
        if any(mark["points"] for marks in result["marks"].values() for mark in marks):
            found.append(name)
    return found


# Files that were made to do harm, and names.
class Paper:
    """No sandbox, for files that hold nothing to run; everything in it has died."""

    isolation = "none"

    def run(self, cells: list[str], exercises: list[dict[str, Any]], slot: int = 0) -> list[dict[str, Any]]:
        return [{"status": "died", "errors": [], "outcomes": None} for _ in exercises]


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 3, 1, 8, 0, 0)), content, kind)
    return buffer.getvalue()


def spoiled(kind: int) -> bytes:
    """A ZIP whose packed bytes are no such thing."""
    content = bytearray(zipped({"a.ipynb": bytes(range(256)) * 40}, kind))
    for at in range(50, 78):
        content[at] ^= 0xFF
    return bytes(content)


def linked(name: str, target: str) -> bytes:
    entry, buffer = zipfile.ZipInfo(name), io.BytesIO()
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, target)
    return buffer.getvalue()


def code(*cells: str) -> bytes:
    made = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def nested(depth: int) -> bytes:
    content = zipped({f"{number}.ipynb": bytes(4_000_000) for number in range(20)})
    for _ in range(depth):
        content = zipped({f"{number}.zip": content for number in range(10)})
    return content


FILES: dict[str, Callable[[], bytes]] = {
    "large.ipynb": lambda: b'{"cells": [' + b" " * 6_000_000,
    "deep.ipynb": lambda: b'{"cells": ' * 900_000,
    "deep list.ipynb": lambda: b"[" * 4_900_000,
    "huge number.ipynb": lambda: b'{"cells": [' + b"9" * 4_000_000 + b"]}",
    "huge exponent.ipynb": lambda: b'{"cells": 1e999999999}',
    "twice.ipynb": lambda: code("x = 1")[:-1] + b', "cells": 3, "cells": {"a": 1}}',
    "cells.ipynb": lambda: code(*["pass"] * 5000),
    "no utf-8.ipynb": lambda: b"\xff\xfe" + os.urandom(1000),
    "surrogates.ipynb": lambda: code("x = 1").replace(b"x = 1", b"\\ud800\\udfff\\u0000"),
    "parser.ipynb": lambda: code("%a\n" + "a;" * 2_000_000),
    "parser 2.ipynb": lambda: code("%a\n" + "-" * 199_000 + "1"),
    "parser 3.ipynb": lambda: code("%a\n" + "x" + "[0]" * 66_000),
    "spaces.ipynb": lambda: code("a?" + " " * 190_000 + "x"),
    "assignment.ipynb": lambda: b'{"cells": [], "metadata": {"tlib": {"assignment": "<script>\\ud800"}}}',
    "bomb.zip": lambda: zipped({"a.ipynb": bytes(300_000_000)}),
    "many bombs.zip": lambda: zipped({f"{number}.ipynb": bytes(4_900_000) for number in range(60)}),
    "nested.zip": lambda: nested(2),
    "many.zip": lambda: zipped({"x.zip": zipped({f"{number}.ipynb": b"" for number in range(21_000)})}),
    "traversal.zip": lambda: zipped(
        {name: code("x = 1") for name in (
            "../../escaped.ipynb", "/tmp/escaped.ipynb", "..\\..\\escaped.ipynb", "C:\\escaped.ipynb",
            "//escaped.ipynb", "a/../../../escaped.ipynb", "feedback/../../../escaped/x.ipynb", "\0escaped.ipynb",
        )}
    ),
    "long name.zip": lambda: zipped({"学" * 20_000 + "/x.ipynb": code("x = 1")}),
    "names.zip": lambda: zipped(
        {f"{name}/x.ipynb": code("x = 1") for name in (
            "=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "=HYPERLINK(\"http://x\")", "＝1+1",
            "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{ task.__class__ }}", "{% include 'x' %}",
            "'\"><svg onload=alert(1)>", "\u202etxt.exe", "..", "....", "~", "con", "a\nb", ",;\"", "\x1b[31m",
        )}
    ),
    "link.zip": lambda: linked("link/x.ipynb", "/etc/passwd"),
    "deflate.zip": lambda: spoiled(zipfile.ZIP_DEFLATED),
    "lzma.zip": lambda: spoiled(zipfile.ZIP_LZMA),
    "bzip2.zip": lambda: spoiled(zipfile.ZIP_BZIP2),
    "half.zip": lambda: zipped({"a.ipynb": code("x = 1")})[:60],
    "in front.zip": lambda: os.urandom(1000) + zipped({"a.ipynb": code("x = 1")}),
}  # fmt: skip
LINKS = {"link.ipynb": "/etc/passwd", "folder": "/", "loop": "loop", "secret.ipynb": "../out/secret"}


def files_that_succeed(folder: Path) -> Succeeded:
    """Each file in a class of its own with an honest student, under a limit of memory and time."""
    found = []
    for number, (name, make) in enumerate([*FILES.items(), ("links", lambda: b"")]):
        place = folder / f"{number}" / "deep" / "er"
        (place / "in").mkdir(parents=True)
        handed_in(place / "in", {name: make()} if name in FILES else {})
        for link, target in {} if name in FILES else LINKS.items():
            (place / "in" / link).symlink_to(target)
        handed_in(place / "in", {"zz honest.ipynb": code("honest = 1")})
        before, start = everything(folder), time.process_time()
        try:
            rows = grade(task(), [place / "in"], place / "out", Paper(), workers=1, progress=False)
        except BaseException as error:  # whatever it is, an honest student pays for it
            found.append(f"{name}: {type(error).__name__}")
            continue
        if time.process_time() - start > 20:
            found.append(f"{name}: {time.process_time() - start:.0f} s")
        honest_row = next(row for row in rows if row["student"] == "zz honest")
        if honest_row["note"] or any(row["points"] for row in rows):
            found.append(f"{name}: {honest_row['note']}")
        written = everything(folder) - before
        found += [f"{name}: wrote {path}" for path in written if not path.is_relative_to(place / "out")]
        found += [f"{name}: {each}" for each in harmful(place / "out")]
        shutil.rmtree(folder / f"{number}")
    found += [str(path) for path in (Path("/tmp/escaped.ipynb"), folder.parent / "escaped.ipynb") if path.exists()]
    return found


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_symlink() and path.is_file()}


def harmful(out: Path) -> list[str]:
    """What a browser or a spreadsheet would run in marks and feedback, and pages that lie elsewhere."""
    table = list(csv.reader(io.StringIO((out / "marks.csv").read_bytes().decode())))
    found = [cell for line in table for cell in line if cell[:1] in tuple("=+-@\t\r＝＋－＠")]
    pages = list(out.rglob("*.html"))
    found += [str(page) for page in pages if page.parent != out / "feedback" or page.name.startswith(".")]
    text = "".join(page.read_text() for page in pages)
    return found + re.findall(r"<(?:script|img|svg|iframe)[^>]*>|\x1b|class &#39;tlib|root:x:0", text)


GROUPS: dict[str, Callable[[Path], Succeeded]] = {
    "calls": calls_that_succeed,
    "cells": cells_that_succeed,
    "beside": beside_that_succeed,
    "probes": probes_that_succeed,
    "heads": heads_that_succeed,
    "files": files_that_succeed,
}
SIZES = {
    "calls": len(CALLS), "cells": len(CELLS), "beside": len(BESIDE), "probes": len(PROBES), "heads": len(HEADS),
    "files": len(FILES) + 1,
}  # fmt: skip
TOTAL = sum(SIZES.values())


def run_suite() -> dict[str, int]:
    """Run every attack in the real sandbox: {"total", "succeeded"}. Needs bubblewrap."""
    succeeded = 0
    for attempt in GROUPS.values():
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(sandbox, "FIRST_UID", FIRST_UID):
            succeeded += len(attempt(Path(folder)))
    return {"total": TOTAL, "succeeded": succeeded}


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_no_attack_succeeds(group: str, tmp_path: Path):
    box()
    assert GROUPS[group](tmp_path) == []
    assert left_over() == []


def test_there_are_many_attacks():
    assert set(SIZES) == set(GROUPS) and TOTAL >= 100


# The sandbox itself.
def sleeper(seconds: float) -> tuple[list[str], list[dict[str, Any]]]:
    cells = [f"import time\ndef sleeper():\n    time.sleep({seconds})\n    return 3"]
    return cells, [{"function": "sleeper", "cases": [{"args": (), "weights": None}]}]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_worker_cannot_be_killed_or_stopped_from_inside(number: int):
    cells, jobs = sleeper(0)
    (answer,) = box().run(
        [f"import os\nos.kill(os.getppid(), {int(number)})\nos.kill(1, {int(number)})", *cells], jobs, 93
    )
    assert (answer["status"], answer["errors"]) == ("ok", [])
    assert left_over() == []


@pytest.mark.slow
def test_a_worker_that_takes_too_long_is_ended_from_outside(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sandbox, "START_SECONDS", -40)
    start = time.monotonic()
    (answer,) = Sandbox(BUBBLEWRAP, Limits(wall=50.0)).run(*sleeper(100), 97)
    assert answer["status"] == "died" and time.monotonic() - start < 25
    assert left_over() == []


@pytest.mark.slow
def test_nothing_outlives_a_grader_that_is_killed():
    lines = (
        "from tests.grading.test_attacks import *",
        f"sandbox.FIRST_UID = {FIRST_UID}",
        "Sandbox(box().isolation).run(*sleeper(60), 98)",
    )
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines)], cwd=ROOT) as grader:
        wait_for(lambda: left_over(), "it never started")
        grader.kill()
    wait_for(lambda: not left_over(), "it goes on")  # first it has to load torch, then it looks around


def wait_for(condition: Callable[[], bool], otherwise: str, seconds: float = 50) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, otherwise
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (60, "time")])
def test_weak_isolation_has_limits_too(seconds: float, status: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # root's own Python may be out of reach for its unprivileged users
    cells, jobs = sleeper(seconds)
    (answer,) = Sandbox(WEAK, LIMITS).run(cells, jobs, 94)
    assert answer["status"] == status
    assert not seconds or answer["outcomes"] is None
    assert seconds or answer["outcomes"][0]["value"] == 3
    assert left_over() == []


@pytest.mark.slow
def test_weak_isolation_ends_what_it_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sandbox, "START_SECONDS", 8)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    before = set(sandbox._inside(os.getpid()))
    cells, jobs = sleeper(60)
    (answer,) = Sandbox(WEAK, Limits(wall=0.5)).run(["import os\nos.kill(os.getppid(), 19)", *cells], jobs, 95)
    assert answer["status"] == "died"
    assert set(sandbox._inside(os.getpid())) <= before and left_over() == []


@pytest.mark.slow
def test_where_the_grader_is_no_root_the_worker_is_out_of_reach_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    names = ["memory of the worker", "root, namespaces and mounts", "memory beyond the limits"]
    bodies = ["\n".join(f"    {line}" for line in PROBES[name].splitlines()) for name in names]
    cells = [f"def probe_{at}(*args):\n    found = []\n{body}\n    return found\n" for at, body in enumerate(bodies)]
    jobs = [{"function": f"probe_{at}", "cases": [{"args": (), "weights": None}]} for at in range(len(names))]
    answers = box().run([SETUP, *cells], jobs, 96)
    # To the user that it is already, who is nobody outside; and where that is root, names of files, but no file.
    harmless = {"setuid", "seteuid", "setgid", "fd of 1"}
    for name, answer in zip(names, answers, strict=True):
        assert set(answer["outcomes"][0]["value"]) - harmless == set(), name


def test_weak_isolation_is_never_chosen_unasked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CourseError, match="bubblewrap is not installed"):
        sandbox.choose()
    assert sandbox.choose(weak=True) == Sandbox(WEAK)


def test_the_sandbox_that_is_chosen_here_is_the_real_one():
    assert box().isolation == BUBBLEWRAP, NEEDED


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_system_calls_is_a_program_of_whole_instructions(machine: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seccomp.platform, "machine", lambda: machine)
    assert len(seccomp.program()) % 8 == 0 < len(seccomp.program())
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "another")
    assert seccomp.program() == b""


# What the attacks above once found, without a sandbox.
@pytest.mark.parametrize("size", ["1e999", "NaN", "-5", '"five"', "null", "[]"])
def test_a_head_with_another_size_is_no_answer(size: str):
    head = f'{{"size": {size}, "status": "ok"}}'.encode()
    (answer,) = sandbox._parse(len(head).to_bytes(8, "big") + head, 1, 3)
    assert answer == {"status": "garbled", "errors": [], "outcomes": None}


def test_what_a_zip_in_an_export_says_of_its_time_makes_nothing_earlier(tmp_path: Path):
    inner = zipped({"x.ipynb": code("x = 1")})
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("Eve_1_assignsubmission_file_/x.zip", (2026, 3, 2, 8, 0, 0)), inner)
    (found,) = collect([tmp_path / "all.zip"], CHAPTER, set(), submissions.datetime(2026, 3, 1, 12))
    assert found.late and found.handed_in == submissions.datetime(2026, 3, 2, 8)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_zip_of_a_few_bytes_does_not_fill_the_memory(depth: int, tmp_path: Path):
    content = zipped({f"{number}.ipynb": bytes(submissions.MOST_BYTES) for number in range(12)})
    files = {"Eve_1_assignsubmission_file_/x.zip": content, "Ada_2_assignsubmission_file_/x.ipynb": code("x = 1")}
    (tmp_path / "all.zip").write_bytes(zipped(files))
    place = tmp_path / "all.zip" if depth == 2 else handed_in(tmp_path / "in", files)
    found = collect([place], CHAPTER, set())
    assert sum(len(each.content) for each in found) <= submissions.MOST_UNPACKED + submissions.TIGHTEST * len(content)
    assert {each.problem for each in found if each.student == "Eve_1"} == {
        "in a ZIP that unpacks to too much",
        "not a notebook (JSONDecodeError)",
    }
    assert [each.problem for each in found if each.student == "Ada_2"] == [""]


def test_of_a_students_zip_of_many_notebooks_some_are_read(tmp_path: Path):
    many = zipped({f"{number}.ipynb": b"" for number in range(submissions.MOST_FILES + 1)})
    (tmp_path / "all.zip").write_bytes(zipped({"eve.zip": many, "ada/x.ipynb": code("x = 1")}))
    found = collect([tmp_path / "all.zip"], CHAPTER, set())
    assert len(found) == submissions.MOST_OWN + 2
    assert sum("a ZIP of over 100 notebooks" in each.problem for each in found) == 1


def test_a_kind_of_error_is_never_a_students_own():
    secret = type("Secret0137", (KeyError,), {})
    assert worker.kind_of(secret()) == "KeyError"
