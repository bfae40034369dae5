"""Grading a small class in the real sandbox, from a platform's ZIP to marks and feedback; and comparing answers."""

import csv
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.grading.classroom import CHAPTER, notebook, solution, task
from tlib.course import CourseError, codec, grading, sandbox, worker
from tlib.course.comparison import WHY, compare
from tlib.course.exercises import stub
from tlib.course.grading import EARLIER, grade, grade_one, judge
from tlib.course.sandbox import Sandbox
from tlib.course.submissions import Submission

EXERCISES = ["layer-rate", "pool-chunks", "labels-worth"]
NOON = "2026-03-01T12:00:00"
MORNING, EVENING = (2026, 3, 1, 8, 0, 0), (2026, 3, 1, 20, 0, 0)
HELPERS = (
    "%matplotlib inline\ndef share_of(t, cut, total):\n    return t / cut if t < cut else (total - t) / (total - cut)"
)


def stubbed(*exercises: str) -> dict[str, str]:
    return {exercise: stub(solution(exercise)) for exercise in exercises}


def edited(exercise: str, *changes: tuple[str, str]) -> dict[str, str]:
    """A solution with mistakes in it."""
    source = solution(exercise)
    for right, wrong in changes:
        assert source.count(right) == 1
        source = source.replace(right, wrong)
    return {exercise: source}


PERFECT = notebook()
STUBS = notebook(stubbed(*EXERCISES))
ONE_RIGHT = notebook(stubbed("layer-rate", "labels-worth"))
FAILS_AT_IMPORT = notebook({"pool-chunks": f"import no_such_package\n\n{solution('pool-chunks')}"})
MISSING = notebook(
    edited("layer-rate", ("def layer_rate(", "def rate_of_layer("))
    | {"labels-worth": "def labels_worth(*args):\n    print(args)\n    raise RuntimeError(f'called with {args}')"}
)
BRANCHES = "if t < cut:\n        share = t / cut\n    else:\n        share = (total - t) / (total - cut)"
HELPED = notebook(edited("layer-rate", (BRANCHES, "share = share_of(t, cut, total)")), extra=HELPERS)
PARTIAL = notebook(
    edited("pool-chunks", ("total / count]", "(total / count).detach()]"))
    | edited("labels-worth", ("np.maximum.accumulate(accuracy)", "np.array(accuracy)"))
)
# Student: [(file's content, time), ...].
CLASS: dict[str, list[tuple[bytes, tuple[int, ...]]]] = {
    "Ada_1": [(PERFECT, MORNING)],
    "Bob_2": [(STUBS, MORNING)],
    "Cy_3": [(b"I could not open it", MORNING)],
    "Dan_4": [(FAILS_AT_IMPORT, MORNING)],
    "Eve_5": [(MISSING, MORNING)],
    "Gus_6": [(HELPED, EVENING)],
    "Hal_7": [(PERFECT + b" ", MORNING), (ONE_RIGHT, (2026, 3, 1, 9, 0, 0))],
    "Ida_8": [(PARTIAL, MORNING)],
}
MARKS = """\
student,points,of,layer-rate,pool-chunks,labels-worth,late,note,file
Ada_1,14,14,3,5,6,,,Ada_1_assignsubmission_file_/1.ipynb
Bob_2,0,14,0,0,0,,,Bob_2_assignsubmission_file_/1.ipynb
Cy_3,0,14,0,0,0,,not a notebook (JSONDecodeError),Cy_3_assignsubmission_file_/1.ipynb
Dan_4,9,14,3,0,6,,,Dan_4_assignsubmission_file_/1.ipynb
Eve_5,5,14,0,5,0,,,Eve_5_assignsubmission_file_/1.ipynb
Gus_6,14,14,3,5,6,late,,Gus_6_assignsubmission_file_/1.ipynb
Hal_7,5,14,0,5,0,,,Hal_7_assignsubmission_file_/2.ipynb
Hal_7,0,14,0,0,0,,an earlier file of the same student: not marked,Hal_7_assignsubmission_file_/1.ipynb
Ida_8,11,14,3,4,4,,,Ida_8_assignsubmission_file_/1.ipynb
Zoe_9,0,14,0,0,0,,nothing handed in,
"""


def export(path: Path, *students: str) -> Path:
    """The class, or some of it, as a Moodle export."""
    with zipfile.ZipFile(path, "w") as archive:
        for student in students or CLASS:
            for number, (content, moment) in enumerate(CLASS[student], start=1):
                archive.writestr(zipfile.ZipInfo(f"{student}_assignsubmission_file_/{number}.ipynb", moment), content)
    return path


def command(archive: Path, out: Path, *more: str) -> list[str]:
    start = [sys.executable, "-c", "from tlib.cli import main; main()", "grade", str(archive)]
    return [*start, "--chapter", CHAPTER, "--out", str(out), *more]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def box() -> Sandbox:
    """The real sandbox; a machine without it cannot tell whether grading works."""
    try:
        return sandbox.choose()
    except CourseError as error:
        pytest.fail(f"these tests need bubblewrap: {error}")


@pytest.fixture(scope="module")
def graded(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The class, graded once by the command: folder, archive and what was printed."""
    folder = tmp_path_factory.mktemp("class")
    archive, out, roster = export(folder / "export.zip"), folder / "out", folder / "roster.txt"
    roster.write_text("Ada_1\n\n  Zoe_9  \nBob_2\n", encoding="utf-8")
    more = ["--due", NOON, "--roster", str(roster), "--workers", "2"]
    done = subprocess.run(command(archive, out, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(archive=archive, out=out, said=done.stdout, roster=["Ada_1", "Zoe_9", "Bob_2"])


def rows(graded: SimpleNamespace) -> dict[str, dict[str, Any]]:
    """The row of each student that counts."""
    found: dict[str, dict[str, Any]] = {}
    for row in json.loads((graded.out / "marks.json").read_text())["rows"]:
        found.setdefault(row["student"], row)
    return found


def whys(row: dict[str, Any], exercise: str) -> list[str]:
    return [mark["why"] for mark in row["marks"][exercise]]


@pytest.mark.slow
def test_the_class_has_the_marks_that_it_should(graded: SimpleNamespace):
    assert (graded.out / "marks.csv").read_bytes().decode() == MARKS.replace("\n", "\r\n")
    assert "isolation: bubblewrap" in graded.said
    assert " 14 of 14  Gus_6  late  " in graded.said
    assert re.search(r"^ +0 of 14  Zoe_9 +nothing handed in$", graded.said, re.MULTILINE)


@pytest.mark.slow
def test_every_property_says_what_was_found(graded: SimpleNamespace):
    about = json.loads((graded.out / "marks.json").read_text())
    assert (about["chapter"], about["isolation"]) == (CHAPTER, sandbox.BUBBLEWRAP)
    by_student = rows(graded)
    for student in ("Ada_1", "Gus_6"):
        assert {why for exercise in EXERCISES for why in whys(by_student[student], exercise)} == {"right"}
    assert whys(by_student["Bob_2"], "pool-chunks") == ["value", "value", "value", "refused"]
    assert whys(by_student["Dan_4"], "pool-chunks") == ["missing"] * 4
    assert by_student["Dan_4"]["errors"] == [{"cell": 4, "raised": "ModuleNotFoundError"}]
    assert whys(by_student["Eve_5"], "layer-rate") == ["missing"] * 3
    assert whys(by_student["Eve_5"], "labels-worth") == ["value", "value", "value", "refused"]
    assert whys(by_student["Ida_8"], "pool-chunks") == ["right", "right", "gradient", "right"]
    assert whys(by_student["Ida_8"], "labels-worth") == ["right", "value", "right", "right"]
    assert by_student["Cy_3"]["marks"] == {} == by_student["Zoe_9"]["marks"]
    for row in by_student.values():
        for exercise, marks in row["marks"].items():
            assert [(mark["name"], mark["of"]) for mark in marks] == [
                (each.name, each.points) for each in task().properties[exercise]
            ]
            assert all(mark["points"] == (mark["of"] if mark["why"] == "right" else 0) for mark in marks)
            assert row["by_exercise"][exercise] == sum(mark["points"] for mark in marks)


@pytest.mark.slow
def test_feedback_says_the_points_and_the_kind_of_mistake(graded: SimpleNamespace):
    pages = {path.stem: path.read_text() for path in (graded.out / "feedback").iterdir()}
    assert set(pages) == set(CLASS), "a page for everyone who handed something in, and for nobody else"
    for student, row in rows(graded).items():
        if student in pages:
            assert f"<strong>{row['points']} of 14 points</strong> for {student}" in pages[student]
            found = [unescape(cell) for cell in re.findall(r"<td>([^<]*)</td></tr>", pages[student])]
            assert found == [WHY[why] for exercise in row["marks"] for why in whys(row, exercise)]
    assert "Handed in late." in pages["Gus_6"] and "late" not in pages["Ada_1"]
    assert re.search(r"raised an error[^<]*code cell 4 \(ModuleNotFoundError\)\s*</p>", pages["Dan_4"])
    assert "raised an error" not in pages["Ada_1"]
    assert "Note: not a notebook (JSONDecodeError)." in pages["Cy_3"]
    assert EARLIER not in pages["Hal_7"], "the page is about the file that counts"


def numbers(value: Any) -> list[float]:
    """Every number with a fraction in nested values."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return numbers(value.tolist())
    if isinstance(value, dict):
        return numbers(list(value.values()))
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, float) and math.isfinite(value) and value != round(value, 2) else []


@pytest.mark.slow
def test_feedback_and_marks_hold_no_input_and_no_expected_value(graded: SimpleNamespace, tmp_path: Path):
    secret, shown = (graded.out / "secret").read_bytes(), Recorder()
    for student, handed in CLASS.items():
        grade_one(task(), Submission(student, "", handed[-1][0]), secret, shown, 0, tmp_path)
    references = {each.function: each.reference() for each in task().exercises}
    cases = [(job["function"], case) for jobs in shown.jobs for job in jobs for case in job["cases"]]
    secrets = {repr(number)[:8] for _, case in cases for number in numbers(case)}
    secrets |= {repr(number)[:8] for name, case in cases for number in numbers(worker.call(references[name], case))}
    secrets = {digits for digits in secrets if len(digits) == 8}
    assert len(secrets) > 1000
    text = "\n".join(content.decode() for name, content in files(graded.out).items() if name != "secret")
    text = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert [digits for digits in secrets if digits in text] == []
    assert re.findall(r"\d\.\d+", text) == [], "every mark is a whole number, and nothing else is a number"
    assert "called with (" not in text, "a student's own message, which holds inputs"


@pytest.mark.slow
def test_the_secret_is_the_instructors_alone(graded: SimpleNamespace):
    path = graded.out / "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    secret = path.read_bytes()
    assert len(bytes.fromhex(secret.decode())) == 32
    others = {name: content for name, content in files(graded.out).items() if name != "secret"}
    assert {"marks.csv", "marks.json", "feedback/Ada_1.html"} < set(others)
    assert [
        name for name, content in others.items() if secret in content or bytes.fromhex(secret.decode()) in content
    ] == []
    assert secret.decode() not in graded.said


@pytest.mark.slow
def test_a_second_run_starts_no_sandbox_and_says_the_same(graded: SimpleNamespace, box: Sandbox, monkeypatch):
    before = files(graded.out)
    monkeypatch.setattr(Sandbox, "run", lambda *_: pytest.fail("these marks are there already"))
    due = grading.datetime.fromisoformat(NOON)
    again = grade(task(), [graded.archive], graded.out, box, roster=graded.roster, due=due, workers=1, progress=False)
    assert files(graded.out) == before
    assert again == json.loads(before["marks.json"])["rows"]


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was_with_one_worker_too(graded: SimpleNamespace, box: Sandbox, tmp_path: Path):
    archive, out = export(tmp_path / "some.zip", "Ada_1", "Dan_4", "Ida_8"), tmp_path / "killed"
    run = subprocess.Popen(
        command(archive, out, "--workers", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 300
    while not list(out.glob("work/*.json")):
        assert run.poll() is None and time.monotonic() < until, "it ended before its first mark"
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    kept = files(out / "work")
    assert len([name for name in kept if name.endswith(".json") and name[0] != "."]) in (1, 2)
    assert not (out / "marks.csv").exists()
    done = subprocess.run(command(archive, out, "--workers", "1"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = files(out / "work")
    assert len(after) >= 3 and all(after[name] == content for name, content in kept.items())

    whole = tmp_path / "whole"  # of the class that two workers graded in one go, the same students
    shutil.copytree(graded.out / "work", whole / "work")
    shutil.copy(graded.out / "secret", whole / "secret")
    grade(task(), [archive], whole, box, progress=False)
    assert files(whole / "work") == files(graded.out / "work"), "nothing had to be graded"
    assert (out / "marks.csv").read_bytes() == (whole / "marks.csv").read_bytes()
    assert (out / "secret").read_bytes() != (whole / "secret").read_bytes()


@dataclass(frozen=True)
class Here(Sandbox):
    """No sandbox: for our own code."""

    isolation: str = "none"

    def run(self, cells: list[str], exercises: list[dict[str, Any]], slot: int = 0) -> list[dict[str, Any]]:
        names: dict[str, Any] = {}
        errors = [worker._run(source, number, names) for number, source in enumerate(cells)]
        answers = []
        for each in exercises:
            outcomes = [worker.call(names[each["function"]], case) for case in each["cases"]]
            answers.append({"status": "ok", "errors": list(filter(None, errors)), "outcomes": outcomes})
        return answers


class Recorder:
    """A sandbox that only remembers what it was asked."""

    def __init__(self) -> None:
        self.jobs: list[list[dict[str, Any]]] = []

    def run(self, cells: list[str], exercises: list[dict[str, Any]], slot: int = 0) -> list[dict[str, Any]]:
        self.jobs.append(exercises)
        return [{"status": "died", "errors": [], "outcomes": None} for _ in exercises]


def asked(tmp_path: Path, content: bytes, secret: bytes) -> bytes:
    """The inputs that are drawn for a submission, as bytes."""
    recorder = Recorder()
    out = tmp_path / f"{len(list(tmp_path.iterdir()))}"  # without kept marks
    grade_one(task(), Submission("ada", "ada.ipynb", content), secret, recorder, 0, out)
    return codec.pack(recorder.jobs)


def test_inputs_depend_on_the_secret_and_on_the_submission(tmp_path: Path):
    first = asked(tmp_path, PERFECT, b"one")
    assert first == asked(tmp_path, PERFECT, b"one")
    assert first != asked(tmp_path, PERFECT, b"two")
    assert first != asked(tmp_path, PERFECT + b" ", b"one")


def test_each_property_draws_other_cases_each_time():
    first, second = (grading.draw(task(), seed) for seed in (1, 2))
    for exercise in task().exercises:
        for one, two in zip(first[exercise.id], second[exercise.id], strict=True):
            assert one and two and codec.pack(one) != codec.pack(two)


def here(tmp_path: Path, handed: dict[str, bytes], **options: Any) -> list[dict[str, Any]]:
    """Grade files, by our own code alone."""
    for number, (name, content) in enumerate(handed.items()):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    return grade(task(), [tmp_path / "in"], tmp_path / "out", Here(), progress=False, **options)


def brief(found: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(row["student"], row["points"], row["note"]) for row in found]


def test_copies_are_noted_and_the_file_that_counts_comes_first(tmp_path: Path):
    found = here(tmp_path, {"ada/a.ipynb": STUBS, "ada/b.ipynb": PERFECT, "bob/x.ipynb": PERFECT})
    assert brief(found) == [
        ("ada", 14, "the same file as bob"),
        ("ada", 0, EARLIER),
        ("bob", 14, "the same file as ada"),
    ]
    assert "14 of 14 points" in (tmp_path / "out" / "feedback" / "ada.html").read_text()


def test_a_last_file_that_cannot_be_read_does_not_replace_one_that_can(tmp_path: Path):
    found = here(tmp_path, {"ada/1.ipynb": PERFECT, "ada/2.ipynb": b"?"})
    assert brief(found) == [("ada", 14, ""), ("ada", 0, "not a notebook (JSONDecodeError)")]


def test_a_student_whose_files_all_have_problems_gets_a_page(tmp_path: Path):
    found = here(tmp_path, {"ada/1.ipynb": b"?", "ada/2.zip": b"?", "bob.ipynb": PERFECT})
    assert [(student, points) for student, points, _ in brief(found)] == [("ada", 0), ("ada", 0), ("bob", 14)]
    assert "Note: not a notebook" in (tmp_path / "out" / "feedback" / "ada.html").read_text()


def test_students_whose_names_look_alike_have_pages_of_their_own(tmp_path: Path):
    here(tmp_path, {"a.b.ipynb": STUBS, "a-b.ipynb": PERFECT, "A.B.ipynb": ONE_RIGHT})
    pages = [path.read_text() for path in (tmp_path / "out" / "feedback").iterdir()]
    said = sorted(re.findall(r"<strong>(\d+) of 14 points</strong> for ([^,]*),", "".join(pages)))
    assert said == [("0", "a.b"), ("14", "a-b"), ("5", "A.B")]


def test_a_roster_finds_names_whatever_way_their_accents_are_spelt(tmp_path: Path):
    found = here(tmp_path, {f"{unicodedata.normalize('NFD', 'Zoë')}.ipynb": STUBS}, roster=["Zoë", "Núria"])
    assert brief(found) == [("Núria", 0, "nothing handed in"), ("Zoë", 0, "")]


def test_names_are_harmless_in_a_spreadsheet_and_in_a_browser(tmp_path: Path):
    here(tmp_path, {"=1+1.ipynb": PERFECT, "<b>x.ipynb": STUBS})
    table = list(csv.reader(io.StringIO((tmp_path / "out" / "marks.csv").read_text())))
    assert [line[0] for line in table] == ["student", "<b>x", "'=1+1"]
    assert "for &lt;b&gt;x, &lt;b&gt;x.ipynb" in (tmp_path / "out" / "feedback" / "-b-x.html").read_text()


def test_nothing_handed_in_at_all(tmp_path: Path):
    (tmp_path / "in").mkdir()
    assert brief(here(tmp_path, {}, roster=["ada"])) == [("ada", 0, "nothing handed in")]
    assert (tmp_path / "out" / "marks.csv").read_text().count("\n") == 2


def test_marks_of_another_secret_or_notebook_or_task_or_box_are_not_taken(tmp_path: Path, monkeypatch):
    def run(content: bytes = PERFECT, secret: bytes = b"one", limits: int = 20) -> int:
        """How many sandboxes were started."""
        calls: list[int] = []
        monkeypatch.setattr(Here, "run", lambda *_: calls.append(1) or Recorder().run([], [{}, {}, {}]))
        used = Here(limits=sandbox.Limits(cpu=limits))
        grade_one(task(), Submission("ada", "x.ipynb", content), secret, used, 0, tmp_path)
        return len(calls)

    assert [run(), run(), run(content=STUBS), run(secret=b"two"), run(limits=30), run()] == [1, 0, 1, 1, 1, 0]
    monkeypatch.setattr(grading.Assignment, "digest", "another")
    assert run() == 1


def test_an_empty_secret_is_an_error(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").touch()
    with pytest.raises(CourseError, match="secret is empty: delete it"):
        here(tmp_path, {"ada.ipynb": PERFECT})


def test_without_bubblewrap_grading_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CourseError, match="bubblewrap is not installed .*apt-get install.*--weak-isolation"):
        sandbox.choose()
    assert sandbox.choose(weak=True).isolation == sandbox.WEAK


def right(value: Any, gradients: Any = None) -> dict[str, Any]:
    return {"value": value, "gradients": gradients, "changed": False}


def floats(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)


REFUSED = {"raised": "ValueError"}
COMPARED = [
    (right(floats(1, 2)), right(floats(1, 2)), "right"),
    (right(floats(1, 2)), right(floats(1.00005, 2)), "right"),  # within the tolerance
    (right(floats(1, 2)), right(floats(1.001, 2)), "value"),
    (right(floats(1, 2)), right(floats(1, 2).double()), "right"),
    (right(floats(1, 2)), right(np.array([1.0, 2.0])), "right"),
    (right(floats(math.nan, math.inf)), right(floats(math.nan, math.inf)), "right"),
    (right(floats(math.inf)), right(floats(-math.inf)), "value"),
    (right(floats(1, 2)), right(floats(1, math.nan)), "value"),
    (right(floats(1, 2)), right(floats(1, 2)[None]), "shape"),
    (right(floats(1, 2)), right(floats(1)), "shape"),
    (right(floats(1, 2)), right(torch.tensor([1, 2])), "kind"),
    (right(torch.tensor([1, 2])), right(torch.tensor([1, 2], dtype=torch.int32)), "right"),
    (right(torch.tensor([True])), right(torch.tensor([1])), "kind"),
    (right(floats(1, 2)), right([1.0, 2.0]), "kind"),
    (right(floats(1, 2)), right(None), "kind"),
    (right(torch.tensor(2.0)), right(2.0), "right"),
    (right(2.0), right(torch.tensor(2.0)), "right"),
    (right(2.0), right(2), "right"),
    (right(2.0), right(True), "kind"),
    (right(2.0), right("2.0"), "kind"),
    (right(2.0), right(2.1), "value"),
    (right(math.inf), right(math.inf), "right"),
    (right(math.nan), right(0.0), "value"),
    (right(2), right(2.0), "kind"),
    (right(2), right(3), "value"),
    (right("a"), right("b"), "value"),
    (right((1, floats(1))), right([1, floats(1)]), "right"),
    (right((1, 2)), right((1, 2, 3)), "shape"),
    (right((1, 2)), right((1, 3)), "value"),
    (right((1, 2)), right({"0": 1, "1": 2}), "kind"),
    (right({"a": 1}), right({"a": 1}), "right"),
    (right({"a": 1}), right({"b": 1}), "kind"),
    (right({"a": 1}), right({"a": 2}), "value"),
    (right(1), right(1) | {"changed": True}, "changed"),
    (right(1), {"value": 1, "gradients": None}, "changed"),
    (right(1), REFUSED, "value"),
    (right(1), {}, "value"),
    (REFUSED, REFUSED, "right"),
    (REFUSED, {"raised": "TypeError"}, "refused"),
    (REFUSED, right(1), "refused"),
    (REFUSED, right(1) | REFUSED, "refused"),
    (REFUSED, {}, "refused"),
    (right(1.0, [floats(1)]), right(1.0, [floats(1)]), "right"),
    (right(1.0, [floats(1)]), right(1.0, [floats(2)]), "gradient"),
    (right(1.0, [floats(1)]), right(1.0, [None]), "gradient"),
    (right(1.0, [None]), right(1.0, [None]), "right"),
    (right(1.0, [floats(1)]), right(1.0, []), "gradient"),
    (right(1.0, [floats(1)]), right(1.0, None), "gradient"),
    (right(1.0, [floats(1)]), right(1.0, "no list"), "gradient"),
    (right(1.0, [floats(1)]), right(2.0, [floats(1)]), "value"),
    (right(2.0), right(10**400), "value"),
]


@pytest.mark.parametrize(("expected", "given_", "why"), COMPARED, ids=range(len(COMPARED)))
def test_an_answer_is_compared_with_the_references(expected: dict, given_: dict, why: str):
    assert compare(expected, given_) == why


FAILURES: list[tuple[dict[str, Any], str]] = [
    ({"status": "ok", "outcomes": None}, "missing"),
    ({"status": "time", "outcomes": None}, "time"),
    ({"status": "size", "outcomes": None}, "size"),
    ({"status": "died", "outcomes": None}, "died"),
    ({"status": "garbled", "outcomes": None}, "garbled"),
    ({"status": "ok", "outcomes": []}, "garbled"),
    ({"status": "ok", "outcomes": [right(1)] * 999}, "garbled"),
]


@pytest.mark.parametrize(("answer", "why"), FAILURES, ids=[f"{why}-{i}" for i, (_, why) in enumerate(FAILURES)])
def test_without_answers_no_property_has_points(answer: dict[str, Any], why: str):
    exercise, drawn = task().exercises[1], grading.draw(task(), 3)["pool-chunks"]
    marks = judge(exercise, task().properties["pool-chunks"], drawn, answer)
    assert [(mark["why"], mark["points"]) for mark in marks] == [(why, 0)] * 4
    assert sum(mark["of"] for mark in marks) == exercise.points


def test_every_reason_is_a_sentence_that_some_test_above_has_seen():
    assert {why for _, _, why in COMPARED} | {why for _, why in FAILURES} == set(WHY)
    assert all(WHY.values())


def test_a_property_with_one_wrong_case_has_no_points_and_the_others_keep_theirs():
    exercise, drawn = task().exercises[2], grading.draw(task(), 3)["labels-worth"]
    outcomes = [worker.call(exercise.reference(), case) for cases in drawn for case in cases]
    outcomes[len(drawn[0]) + len(drawn[1]) - 1] = right(-1.0)  # the last case of the second property
    marks = judge(exercise, task().properties["labels-worth"], drawn, {"status": "ok", "outcomes": outcomes})
    assert [(mark["points"], mark["why"]) for mark in marks] == [(2, "right"), (0, "value"), (1, "right"), (1, "right")]


@pytest.mark.parametrize(("raised", "known"), [("KeyError", "KeyError"), ("SystemExit", "SystemExit")])
def test_kinds_of_errors_are_named(raised: str, known: str):
    assert grading.known_error(raised) == known


@pytest.mark.parametrize("raised", ["Secret0137", "print", "", "__name__", "<b>"])
def test_other_names_of_errors_are_not_shown(raised: str):
    assert grading.known_error(raised) == "an error"


# The codec: what may pass between the grader and student code.
NUMBERS = st.one_of(st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(), st.none())
DTYPES = ["bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64"]
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=0, max_side=4)))
TENSORS = ARRAYS.map(lambda array: torch.from_numpy(array.copy()))
VALUES = st.recursive(
    st.one_of(NUMBERS, ARRAYS, TENSORS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
    max_leaves=12,
)


def identical(left: Any, right_: Any) -> bool:
    """Whether two values are of the same types with the same contents, bit for bit."""
    if type(left) is not type(right_):
        return False
    if isinstance(left, torch.Tensor):
        return left.dtype == right_.dtype and identical(left.numpy(), right_.numpy())
    if isinstance(left, np.ndarray):
        return left.dtype == right_.dtype and left.shape == right_.shape and left.tobytes() == right_.tobytes()
    if isinstance(left, (list, tuple)):
        return len(left) == len(right_) and all(map(identical, left, right_))
    if isinstance(left, dict):
        return list(left) == list(right_) and all(identical(left[key], right_[key]) for key in left)
    return left == right_


@given(VALUES)
def test_plain_values_come_back_as_they_were(value: Any):
    assert identical(codec.unpack(codec.pack(value)), value)


def test_numbers_that_are_no_numbers_come_back_too():
    back = codec.unpack(codec.pack([math.nan, math.inf, -0.0, floats(math.nan)]))
    assert math.isnan(back[0]) and back[1] == math.inf and math.copysign(1, back[2]) == -1 and back[3].isnan().all()


def test_views_and_shared_and_tracked_tensors_come_back_as_plain_ones():
    base = torch.arange(6.0, requires_grad=True)
    value = [base.view(2, 3).T, base[::2], base, torch.nn.Parameter(floats(1)), np.float32(2), np.int64(3)]
    back = codec.unpack(codec.pack(value))
    assert [each.tolist() if isinstance(each, torch.Tensor) else each for each in back] == [
        [[0, 3], [1, 4], [2, 5]], [0, 2, 4], [0, 1, 2, 3, 4, 5], [1], 2.0, 3,
    ]  # fmt: skip
    assert not any(each.requires_grad for each in back[:4]) and type(back[3]) is torch.Tensor


class Sly(int):
    """A number that may lie about itself."""


class SlyTensor(torch.Tensor):
    """A tensor whose methods are its maker's."""


class SlyList(list):
    """A list that may lie about its length."""


UNPLAIN: list[Callable[[], Any]] = [
    lambda: {1, 2}, lambda: b"bytes", lambda: object(), lambda: 1j, lambda: int, lambda: print, lambda: Sly(3),
    lambda: SlyList(), lambda: torch.zeros(2).as_subclass(SlyTensor), lambda: {1: 2}, lambda: {Sly(1): 2},
    lambda: np.array(["text"]), lambda: np.array([object()]), lambda: np.array([1j]), lambda: np.str_("text"),
    lambda: np.datetime64("2026-01-01"), lambda: (number for number in range(3)), lambda: range(3),
    lambda: ValueError("no"), lambda: torch.nn.Linear(1, 1), lambda: torch.float32, lambda: np.ma.array([1]),
]  # fmt: skip


@pytest.mark.parametrize("make", UNPLAIN, ids=range(len(UNPLAIN)))
def test_other_values_are_not_packed(make: Callable[[], Any]):
    for value in (make(), [1, make()], {"a": (make(),)}):
        with pytest.raises(codec.CodecError, match="is not plain data"):
            codec.pack(value)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(frame: bytes):
    with pytest.raises(codec.CodecError):
        codec.unpack(frame)


EMPTY = codec.pack(None)[8 + len(json.dumps({"plain": None})) :]  # safetensors of nothing


def framed(tree: bytes, tensors: bytes = EMPTY) -> bytes:
    return len(tree).to_bytes(8, "big") + tree + tensors


TREES = [
    b"", b"{}", b"[]", b"3", b"null", b'{"plain": [1]}', b'{"plain": {}}', b'{"list": 3}', b'{"list": [1]}',
    b'{"tensor": "0"}', b'{"tensor": []}', b'{"array": null}', b'{"dict": []}', b'{"dict": {"a": 1}}',
    b'{"plain": 1, "list": []}', b'{"set": []}', b'{"__class__": "x"}', b"\xff", b'{"plain": 1} 2',
    b'{"list":[' * 5000,
]  # fmt: skip


@pytest.mark.parametrize("tree", TREES, ids=range(len(TREES)))
def test_other_trees_are_refused(tree: bytes):
    with pytest.raises(codec.CodecError):
        codec.unpack(framed(tree))
    assert codec.unpack(framed(b'{"plain": 3}')) == 3


@given(st.data())
def test_a_frame_that_was_cut_or_changed_is_refused_or_plain(data: st.DataObject):
    frame = codec.pack({"values": [floats(1, 2), "text", 3, (None, np.arange(3))]})
    with pytest.raises(codec.CodecError):
        codec.unpack(frame[: data.draw(st.integers(0, len(frame) - 1))])
    at = data.draw(st.integers(0, len(frame) - 1))
    changed = frame[:at] + bytes([data.draw(st.integers(0, 255))]) + frame[at + 1 :]
    with suppress(codec.CodecError):
        codec.pack(codec.unpack(changed))
