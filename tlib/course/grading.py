"""Marks: every submission's answers to secret inputs, held to the reference solution's, far from student code.

A run can be killed and started again: each submission's marks are a file of their own, written whole or not at all,
and counted only for the same notebook, secret, exercises and properties.
"""

from __future__ import annotations

import builtins
import csv
import hashlib
import hmac
import io
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np

from tlib import store
from tlib.course import CourseError, codec, comparison, specs, submissions, worker
from tlib.course.comparison import compare
from tlib.course.exercises import Exercise, of_chapter
from tlib.course.sandbox import Sandbox
from tlib.course.specs import Property
from tlib.course.submissions import Submission, collect, printable

EARLIER = "an earlier file of the same student: not marked"


@dataclass(frozen=True)
class Assignment:
    """A chapter's exercises with the properties by which they are graded."""

    chapter: str
    exercises: list[Exercise]
    properties: dict[str, list[Property]]

    @property
    def points(self) -> int:
        return sum(exercise.points for exercise in self.exercises)

    @property
    def digest(self) -> str:
        """SHA-256 over what the marks depend on, besides the submission and the secret."""
        modules = (codec, comparison, specs, submissions, worker)
        parts = [Path(__file__), *(Path(module.__file__) for module in modules)]
        parts += [Path(specs.__file__).with_name(f"{specs.CHAPTERS[self.chapter]}.py")]
        digest = hashlib.sha256("".join(each.solution.source for each in self.exercises).encode())
        for path in parts:
            digest.update(path.read_bytes())
        return digest.hexdigest()


def assignment(root: Path, chapter: str) -> Assignment:
    """The assignment of a chapter of the checkout `root`.

    Raises:
        CourseError: an exercise has no properties, or their points do not add up to the exercise's.
    """
    exercises, properties = of_chapter(root, chapter), specs.of_chapter(chapter)
    for exercise in exercises:
        own = properties.get(exercise.id, [])
        if sum(each.points for each in own) != exercise.points:
            raise CourseError(
                f"{exercise.id}: its properties are worth {sum(each.points for each in own)} points, "
                f"its notebook cell says {exercise.points}"
            )
    return Assignment(chapter, exercises, properties)


def grade(
    task: Assignment, paths: list[Path], out: Path, box: Sandbox, *,
    roster: Iterable[str] = (), due: datetime | None = None, workers: int = 2, progress: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """Grade all submissions among `paths` and write marks.csv, marks.json and feedback/ to `out`; returns the rows.

    Args:
        task: what was set.
        paths: notebooks, folders, ZIP exports.
        out: folder of the results. Its `secret` (made at the first run, for the instructor alone) decides the inputs.
        box: where student code runs.
        roster: students from whom something is expected; whoever handed nothing in gets a row that says so.
        due: the time after which a submission is marked as late. Marks are not lowered for it.
        workers: submissions that run at the same time, of one thread each.
    """
    from tqdm import tqdm

    from tlib.course.feedback import write_feedback

    locked = {exercise.checks.metadata["nbgrader"]["grade_id"] for exercise in task.exercises}
    found = collect(paths, task.chapter, locked, due)
    secret, slots = _secret(out), Queue()
    for slot in range(workers):
        slots.put(slot)

    def one(submission: Submission) -> dict[str, Any]:
        slot = slots.get()
        try:
            return grade_one(task, submission, secret, box, slot, out)
        finally:
            slots.put(slot)

    latest, earlier = _latest(found)
    with ThreadPoolExecutor(workers) as pool:
        results = list(tqdm(pool.map(one, latest), total=len(latest), disable=not progress, unit="submission"))
    rows = [_row(task, submission, result) for submission, result in zip(latest, results, strict=True)]
    rows += [_unmarked(task, each.student, each.file, each.problem or EARLIER) for each in earlier]
    absent = sorted(set(map(printable, roster)) - {row["student"] for row in rows})
    rows += [_unmarked(task, student, "", "nothing handed in") for student in absent]
    _note_copies(rows, latest)
    rows.sort(key=lambda row: row["student"])  # and by file as before: the one that counts comes first
    _write_marks(task, rows, out, box)
    write_feedback(task, rows, out)
    return rows


def grade_one(
    task: Assignment, submission: Submission, secret: bytes, box: Sandbox, slot: int, out: Path
) -> dict[str, Any]:
    """A submission's {"marks", "errors"}: by exercise id [{"name", "points", "of", "why"}, ...], and cells that raised.

    Both are read from `out` where a run before this one left them.
    """
    if submission.problem:
        return {"marks": {}, "errors": []}
    key = hmac.new(secret, f"{task.digest} {box} {submission.digest}".encode(), "sha256").hexdigest()
    kept = out / "work" / f"{key}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    drawn = draw(task, int(hmac.new(secret, submission.content, "sha256").hexdigest(), 16))
    jobs = [
        {"function": exercise.function, "cases": [case for cases in drawn[exercise.id] for case in cases]}
        for exercise in task.exercises
    ]
    answers = box.run(list(submission.cells), jobs, slot)
    result = {
        "marks": {
            exercise.id: judge(exercise, task.properties[exercise.id], drawn[exercise.id], answer)
            for exercise, answer in zip(task.exercises, answers, strict=True)
        },
        "errors": [
            {"cell": error["cell"] + 1, "raised": known_error(error["raised"])} for error in answers[0]["errors"][:20]
        ],
    }
    store.write(kept, json.dumps(result).encode())
    return result


def draw(task: Assignment, seed: int) -> dict[str, list[list[dict[str, Any]]]]:
    """The cases of each property of each exercise, from a seed: {"args", "weights"}, as the worker takes them."""
    drawn = {}
    for exercise in task.exercises:
        rng = np.random.default_rng([seed, *exercise.id.encode()])
        reference = exercise.reference()
        drawn[exercise.id] = [
            [_case(args, each.gradient, reference, rng) for args in each.cases(rng)]
            for each in task.properties[exercise.id]
        ]
    return drawn


def _case(args: tuple, gradient: bool, reference: Callable[..., Any], rng: np.random.Generator) -> dict[str, Any]:
    """A case as data; the weights of its gradient have the shape of the reference's result."""
    import torch

    weights = None
    if gradient:
        value = worker.call(reference, {"args": args, "weights": None})["value"]
        weights = torch.tensor(rng.normal(size=tuple(value.shape)), dtype=value.dtype)
    return {"args": args, "weights": weights}


def judge(
    exercise: Exercise, properties: list[Property], drawn: list[list[dict[str, Any]]], answer: dict[str, Any]
) -> list[dict[str, Any]]:
    """Marks of one exercise from the answer of `Sandbox.run`: a property counts if all of its cases are right."""
    reference, marks, outcomes = exercise.reference(), [], answer["outcomes"]
    total = sum(map(len, drawn))
    if answer["status"] == "ok" and outcomes is None:
        reason = "missing"
    elif answer["status"] == "ok":
        reason = "" if len(outcomes) == total else "garbled"
    else:
        reason = answer["status"]
    rest = iter(outcomes if not reason else [])
    for each, cases in zip(properties, drawn, strict=True):
        reasons = [reason] if reason else [compare(worker.call(reference, case), next(rest)) for case in cases]
        why = next((found for found in reasons if found != "right"), "right")
        marks.append({"name": each.name, "points": each.points * (why == "right"), "of": each.points, "why": why})
    return marks


def _secret(out: Path) -> bytes:
    """The course's secret in `out`, made at the first run; only its owner may read it."""
    path = out / "secret"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=out, prefix=".secret.")  # with mode 600 from the first byte on
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_hex(32).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    if not (secret := path.read_bytes()):
        raise CourseError(f"{path} is empty: delete it, and with it {out / 'work'}, whose marks belong to another one")
    return secret


def _latest(found: list[Submission]) -> tuple[list[Submission], list[Submission]]:
    """Each student's last file that can be run (or else the last), and the files before it."""
    latest: dict[str, Submission] = {}
    for submission in found:  # the last one of a student comes first
        before = latest.get(submission.student)
        if before is None or (before.problem and not submission.problem):
            latest[submission.student] = submission
    chosen = {id(submission) for submission in latest.values()}
    return list(latest.values()), [submission for submission in found if id(submission) not in chosen]


def _row(task: Assignment, submission: Submission, result: dict[str, Any]) -> dict[str, Any]:
    marks = result["marks"]
    points = {each: sum(mark["points"] for mark in marks.get(each, [])) for each in task.properties}
    return {
        "student": submission.student,
        "file": submission.file,
        "points": sum(points.values()),
        "of": task.points,
        "late": submission.late,
        "note": submission.problem,
        "by_exercise": points,
        "marks": marks,
        "errors": result["errors"],
    }


def _unmarked(task: Assignment, student: str, file: str, note: str) -> dict[str, Any]:
    return _row(task, Submission(student, file, problem=note), {"marks": {}, "errors": []})


def _note_copies(rows: list[dict[str, Any]], submissions: list[Submission]) -> None:
    """Note where two students handed in the same bytes: it may be one file under two names."""
    owners: dict[str, list[str]] = {}
    for submission in submissions:
        if submission.content:
            owners.setdefault(submission.digest, []).append(submission.student)
    same = {student: [s for s in names if s != student] for names in owners.values() for student in names}
    for row in rows:
        if not row["note"] and (others := same.get(row["student"])):
            row["note"] = f"the same file as {', '.join(others)}"


def _write_marks(task: Assignment, rows: list[dict[str, Any]], out: Path, box: Sandbox) -> None:
    """marks.csv for a gradebook, marks.json with every property."""
    names = list(task.properties)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["student", "points", "of", *names, "late", "note", "file"])
    for row in rows:
        cells = [row["student"], row["points"], row["of"], *(row["by_exercise"][name] for name in names)]
        table.writerow([_harmless(cell) for cell in (*cells, "late" if row["late"] else "", row["note"], row["file"])])
    store.write(out / "marks.csv", text.getvalue().encode())
    about = {"chapter": task.chapter, "isolation": box.isolation, "rows": rows}
    store.write(out / "marks.json", (json.dumps(about, indent=1) + "\n").encode())


def _harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t＝＋－＠" and cell else cell


def known_error(name: str) -> str:
    """The name of a built-in exception, or "an error": nothing that student code made up is shown."""
    kind = getattr(builtins, name, None)
    return name if isinstance(kind, type) and issubclass(kind, BaseException) else "an error"
