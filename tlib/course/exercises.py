"""The exercises of a chapter: three cells each, of which students get the text, a stub and the visible checks.

An exercise is a Markdown cell with its text, a code cell with one function whose body stands between the solution
delimiters, and a code cell with checks that a student may see. The two code cells carry nbgrader's metadata, so that
the same notebook works there.
"""

from __future__ import annotations

import ast
import copy
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlib.course import CourseError

if TYPE_CHECKING:
    from nbformat import NotebookNode

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("write this function")'
# What solutions and checks may use besides their own names; the first code cell of a student's notebook.
SETUP = """\
import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn"""


@dataclass(frozen=True)
class Exercise:
    """One exercise. `id` is the grade_id of its solution cell, `function` the function that it asks for."""

    id: str
    function: str
    points: int
    text: NotebookNode
    solution: NotebookNode
    checks: NotebookNode

    def reference(self) -> Callable[..., Any]:
        """The function of the solution cell. It is ours: student code never comes here."""
        names: dict[str, Any] = {}
        exec(SETUP, names)
        exec(compile(self.solution.source, f"<{self.id}>", "exec"), names)
        return names[self.function]


def find(notebook: NotebookNode, name: str) -> list[Exercise]:
    """The exercises of a notebook, in order; `name` is for messages.

    Raises:
        CourseError: a solution cell without its id, text, delimiters, function or checks, or an id that occurs twice.
    """
    cells, found = notebook.cells, []
    for index, cell in enumerate(cells):
        if not _nbgrader(cell).get("solution"):
            continue
        where = f"{name}, exercise {_nbgrader(cell).get('grade_id')!r}"
        if not _nbgrader(cell).get("grade_id"):
            raise CourseError(f"{where}: cell {index} of the notebook needs a grade_id in its nbgrader metadata")
        text = cells[index - 1] if index else None
        checks = cells[index + 1] if index + 1 < len(cells) else None
        if text is None or text.cell_type != "markdown":
            raise CourseError(f"{where}: a Markdown cell with its text has to stand before the solution cell")
        if checks is None or not (_nbgrader(checks).get("grade") and _nbgrader(checks).get("points")):
            raise CourseError(f"{where}: a graded cell with points and visible checks has to follow the solution cell")
        if cell.source.count(BEGIN) != 1 or END not in cell.source.partition(BEGIN)[2] or cell.source.count(END) != 1:
            raise CourseError(f"{where}: its cell needs one {BEGIN} and one {END} after it")
        try:
            functions = [node for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)]
        except SyntaxError as error:
            raise CourseError(f"{where}: its cell is no Python (line {error.lineno}: {error.msg})") from None
        if len(functions) != 1 or not ast.get_docstring(functions[0]):
            raise CourseError(f"{where}: its cell needs exactly one function, with a docstring")
        exercise = Exercise(
            _nbgrader(cell)["grade_id"], functions[0].name, int(_nbgrader(checks)["points"]), text, cell, checks
        )
        if exercise.id in {other.id for other in found}:
            raise CourseError(f"{where}: two exercises have this id")
        found.append(exercise)
    return found


def of_chapter(root: Path, chapter: str) -> list[Exercise]:
    """The exercises of `notebooks/<chapter>.ipynb` of the checkout `root`.

    Raises:
        CourseError: there is no such chapter, or it has no exercises.
    """
    import nbformat

    path = root / "notebooks" / f"{chapter}.ipynb"
    known = sorted(file.stem for file in path.parent.glob("*.ipynb"))
    if chapter not in known:
        raise CourseError(f"no chapter is called {chapter!r}; there are {', '.join(known)}")
    if not (found := find(nbformat.read(path, as_version=4), chapter)):
        raise CourseError(f"{chapter} has no exercises with solution cells yet")
    return found


def stub(source: str) -> str:
    """The source of a solution cell with a stub in the place of the solution."""
    lines, kept, inside = source.splitlines(), [], False
    for line in lines:
        if BEGIN in line:
            inside = True
            kept.append(textwrap.indent(STUB, " " * (len(line) - len(line.lstrip()))))
        elif END in line:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def title(exercise: Exercise) -> str:
    """The heading of the exercise's text: "Exercise 1: weights that grow"."""
    first = exercise.text.source.strip().splitlines()[0]
    return first.lstrip("# ").strip()


def solution_lines(exercise: Exercise) -> list[str]:
    """The lines of a solution, without their indentation: what no student may be shown."""
    body = exercise.solution.source.partition(BEGIN)[2].partition(END)[0]
    return [line.strip() for line in body.splitlines() if line.strip()]


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """A copy in which every solution is a stub; solution and check cells lose their outputs, which would tell of it."""
    public = copy.deepcopy(notebook)
    for cell in public.cells:
        if _nbgrader(cell).get("solution"):
            cell.source = stub(cell.source)
        if cell.cell_type == "code" and _nbgrader(cell):
            cell.outputs, cell.execution_count = [], None
    return public


def _nbgrader(cell: NotebookNode) -> dict[str, Any]:
    return cell.metadata.get("nbgrader", {})
