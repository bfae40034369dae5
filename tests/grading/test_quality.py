"""The grader's own marks: what it rejects of wrong versions of the solutions, and that it takes right ones."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.grading import equivalent, measure, mutation
from tests.grading.alternatives import RIGHT
from tlib.course import grading, worker
from tlib.course.exercises import Exercise, stub

EXERCISES = mutation.exercises()
ENOUGH, REJECTED = 20, 0.97
each_exercise = pytest.mark.parametrize(("task", "exercise"), EXERCISES, ids=[each.id for _, each in EXERCISES])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy(source: str) -> set[str]:
    """The changed lines of a toy solution."""

    class Toy:
        id = "toy"
        solution = type("Cell", (), {"source": source})

    return {each.after for each in mutation.mutants(Toy())}  # type: ignore[arg-type]


def test_changes_are_those_that_a_student_may_make():
    changed = toy(
        'def f(x, mask):\n    """Doc."""\n    if not mask.any():\n        raise ValueError(f"{x + 1}")\n'
        "    return x.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) / x[1:].clamp(min=2)\n"
    )
    wrong = {
        "pass",
        "if mask.any():",
        "if not mask.all():",
        "raise TypeError(f'{x + 1}')",
        "return x.sum(dim=1, keepdim=True) / x[1:].clamp(min=2)",
        "return x.masked_fill(mask, 0.0).sum(dim=1, keepdim=True) / x[1:].clamp(min=2)",
        "return x.masked_fill(~mask, 0.0).sum(dim=0, keepdim=True) / x[1:].clamp(min=2)",
        "return x.masked_fill(~mask, 0.0).sum(dim=-1, keepdim=True) / x[1:].clamp(min=2)",
        "return x.masked_fill(~mask, 0.0).mean(dim=1, keepdim=True) / x[1:].clamp(min=2)",
        "return x.masked_fill(~mask, 0.0).sum(dim=1) / x[1:].clamp(min=2)",
        "return x.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) * x[1:].clamp(min=2)",
        "return x.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True)",
        "return x.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) / x[1:]",
        "return x.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) / x[2:].clamp(min=2)",
        "return x.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) / x[1:-1].clamp(min=2)",
        "return x.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) / mask[1:].clamp(min=2)",
    }
    assert wrong - changed == set()
    assert not any("x + 2" in line or "x - 1" in line or "Doc" in line for line in changed), "texts stay as they are"


@each_exercise
def test_each_wrong_version_is_another_text_that_can_be_compiled(task: grading.Assignment, exercise: Exercise):
    found = mutation.mutants(exercise)
    assert len({each.source for each in found}) == len(found)
    for each in found:
        compile(each.source, "<wrong>", "exec")
        assert each.before != each.after


def test_an_endless_loop_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mutation, "SECONDS", 0.2)
    task, exercise = EXERCISES[0]
    for body in (
        "while True: pass",
        "while True:\n        try:\n            while True: pass\n        except Exception: pass",
    ):
        assert not mutation.full_marks(task, exercise, f"def {exercise.function}(*args):\n    {body}", seed=0)


@each_exercise
def test_a_stub_and_what_is_no_function_get_no_point(task: grading.Assignment, exercise: Exercise):
    for source in (stub(exercise.solution.source), "1 / 0", "def other(): pass", f"{exercise.function} = 1", "def ("):
        assert not any(mutation.points(task, exercise, source, seed=0))
        assert not mutation.full_marks(task, exercise, source, seed=0)


@each_exercise
def test_who_refuses_everything_gets_no_point(task: grading.Assignment, exercise: Exercise):
    source = f"def {exercise.function}(*args, **kwargs):\n    raise ValueError"
    assert not any(mutation.points(task, exercise, source, seed=0))


@each_exercise
def test_the_reference_itself_gets_full_marks(task: grading.Assignment, exercise: Exercise):
    for seed in measure.SEEDS:
        assert sum(mutation.points(task, exercise, exercise.solution.source, seed)) == exercise.points


@each_exercise
def test_the_reference_refuses_only_where_a_property_says_so(task: grading.Assignment, exercise: Exercise):
    reference = exercise.reference()
    for seed in measure.SEEDS[:5]:
        for each, cases in zip(
            task.properties[exercise.id], mutation.drawn(task.chapter, seed)[exercise.id], strict=True
        ):
            raised = [outcome.get("raised") for outcome in (worker.call(reference, case) for case in cases)]
            assert set(raised) <= {None, "ValueError"}
            assert any(raised) == any(
                word in each.name for word in ("refused", "wrong number", "cannot be", "everything")
            )


@pytest.mark.slow
@each_exercise
def test_wrong_versions_are_rejected(task: grading.Assignment, exercise: Exercise):
    counts = measure.of_mutants(exercise.id)
    assert counts["mutants"] >= ENOUGH
    assert counts["killed"] >= REJECTED * counts["mutants"]


@pytest.mark.slow
@each_exercise
def test_what_is_let_through_is_argued_for_line_by_line(task: grading.Assignment, exercise: Exercise):
    argued = [*equivalent.EQUIVALENT.get(exercise.id, []), *equivalent.TOLERATED.get(exercise.id, [])]
    assert sorted(each.after for each in measure.let_through(exercise.id)) == sorted(line for line, _ in argued)
    assert all(reason.endswith(".") and len(reason) > 20 for _, reason in argued)


@pytest.mark.slow
@each_exercise
def test_right_solutions_written_in_other_ways_get_full_marks(task: grading.Assignment, exercise: Exercise):
    assert len(RIGHT[exercise.id]) >= 2
    names = [function.__name__ for function in RIGHT[exercise.id]]
    assert dict(zip(names, measure.full_marks(exercise.id), strict=True)) == dict.fromkeys(names, True)


@pytest.mark.slow
def test_the_published_numbers_are_those_measured_now():
    published: dict[str, Any] = json.loads(measure.RESULTS.read_text(encoding="utf-8"))
    now = measure.measured()
    assert {key: published[key] for key in now} == now
    assert set(published) == {*now, "attacks"}


def test_tables_are_about_exercises():
    known = {exercise.id for _, exercise in EXERCISES}
    assert set(equivalent.EQUIVALENT) | set(equivalent.TOLERATED) | set(RIGHT) == known
