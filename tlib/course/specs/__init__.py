"""What the grader asks of each exercise: secret cases by property, drawn anew for every submission.

A chapter's module has `PROPERTIES`: the exercise's id, and its properties in the order in which feedback lists them.
Nothing here is ever in sight of student code.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlib.course import CourseError

CHAPTERS = {
    "01_semi-supervised-sequence-learning": "chapter_01",
    "02_elmo": "chapter_02",
    "03_ulmfit": "chapter_03",
    "04_bert": "chapter_04",
    "05_t5": "chapter_05",
    "06_how-to-fine-tune-bert": "chapter_06",
    "08_uda": "chapter_08",
    "11_adapters": "chapter_11",
}


@dataclass(frozen=True)
class Property:
    """One thing that is true of a right solution, with the points it is worth.

    Attributes:
        name: what the student reads, such as "padding changes nothing"; it must not give the inputs away.
        points: all of them, if every case's outcome is the reference solution's; otherwise none.
        cases: draws the cases: argument tuples of plain data (`tlib.course.codec`), tensors included. Where something
            has to be refused there is a case that must not be, so that refusing everything earns nothing.
        gradient: whether the gradients of a random weighted sum of the returned tensor have to agree, too.
    """

    name: str
    points: int
    cases: Callable[[np.random.Generator], list[tuple[Any, ...]]]
    gradient: bool = False


def of_chapter(chapter: str) -> dict[str, list[Property]]:
    """The properties of each exercise of a chapter, by the exercise's id. Raises CourseError if it has none."""
    if chapter not in CHAPTERS:
        raise CourseError(f"nothing can be graded for {chapter!r}: there are {', '.join(CHAPTERS)}")
    return importlib.import_module(f"{__name__}.{CHAPTERS[chapter]}").PROPERTIES
