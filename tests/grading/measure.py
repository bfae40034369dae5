"""How good the grading is: `python -m tests.grading.measure` writes book/results/grading.json.

A few minutes, most of them for the attacks, which run in the real sandbox (bubblewrap).
"""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

import torch

from tests.grading import alternatives, equivalent, mutation
from tests.grading.mutation import ROOT, Mutant
from tlib import store
from tlib.course import grading
from tlib.course.exercises import Exercise

RESULTS = ROOT / "book" / "results" / "grading.json"
SEED = 0  # of the one submission by whose cases a wrong version has to be rejected
SEEDS = range(20)  # of the submissions in which a right solution has to get full marks


def listed(table: dict[str, list[tuple[str, str]]], exercise: Exercise) -> set[str]:
    """The lines that a table of `equivalent.py` has for an exercise."""
    return {line for line, _ in table.get(exercise.id, [])}


@cache
def let_through(exercise: str) -> list[Mutant]:
    """The wrong versions of an exercise that get full marks all the same, equivalent ones included."""
    task, found = by_id()[exercise]
    return [each for each in mutation.mutants(found) if mutation.full_marks(task, found, each.source, SEED)]


@cache
def by_id() -> dict[str, tuple[grading.Assignment, Exercise]]:
    return {exercise.id: (task, exercise) for task, exercise in mutation.exercises()}


def of_mutants(exercise: str) -> dict[str, int]:
    """Wrong versions of an exercise, those that are rejected, and the changes that make no difference."""
    _, found = by_id()[exercise]
    everything, same = mutation.mutants(found), listed(equivalent.EQUIVALENT, found)
    wrong = [each for each in everything if each.after not in same]
    through = [each for each in let_through(exercise) if each.after not in same]
    return {
        "mutants": len(wrong),
        "killed": len(wrong) - len(through),
        "equivalent": len(everything) - len(wrong),
    }


@cache
def full_marks(exercise: str) -> list[bool]:
    """Whether each right solution of an exercise gets full marks in every submission."""
    task, found = by_id()[exercise]
    return [
        all(mutation.full_marks(task, found, solution, seed) for seed in SEEDS)
        for solution in alternatives.RIGHT[exercise]
    ]


def of_alternatives(exercise: str) -> dict[str, int]:
    """Right solutions of an exercise written in other ways, and those that get full marks."""
    return {"alternatives": len(full_marks(exercise)), "full_marks": sum(full_marks(exercise))}


def measured() -> dict[str, Any]:
    """All numbers but those of the attacks."""
    rows = {name: of_mutants(name) | of_alternatives(name) for name in by_id()}
    of = {key: sum(row[key] for row in rows.values()) for key in next(iter(rows.values()))}
    return {
        "mutants": {"total": of["mutants"], "killed": of["killed"], "equivalent": of["equivalent"]},
        "alternatives": {"total": of["alternatives"], "full_marks": of["full_marks"]},
        "exercises": rows,
    }


def main() -> None:
    """Measure, and write; with `--without-attacks`, the numbers of the attacks stay as they are in the file."""
    torch.set_num_threads(1)
    results = measured()
    if "--without-attacks" in sys.argv[1:]:
        before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        attacks = before.get("attacks")
    else:
        from tests.grading.test_attacks import run_suite

        attacks = run_suite()
    if attacks:
        results["attacks"] = {key: attacks[key] for key in ("total", "succeeded")}
    store.write(RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
