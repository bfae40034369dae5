"""What tests of the grader hand in: chapter 03's assignment, solved or changed."""

from functools import cache
from pathlib import Path

import nbformat
from nbformat import v4

from tlib.course import assignment, grading

ROOT = Path(__file__).parents[2]
CHAPTER = "03_ulmfit"


@cache
def task() -> grading.Assignment:
    return grading.assignment(ROOT, CHAPTER)


def solution(exercise: str) -> str:
    return next(each.solution.source for each in task().exercises if each.id == exercise)


def notebook(changed: dict[str, str] | None = None, extra: str = "", place: int = 2) -> bytes:
    """A student's notebook: the solutions, but for the `changed` ones, and an `extra` cell at a `place`.

    At 2 it stands below the set-up, at 1 above it.
    """
    book = assignment.notebook(task())
    for cell in book.cells:
        if (exercise := cell.metadata.get("nbgrader", {}).get("grade_id")) in (changed or {}):
            cell.source = changed[exercise]
    if extra:
        book.cells.insert(place, v4.new_code_cell(extra, id="extra"))
    return nbformat.writes(book).encode()
