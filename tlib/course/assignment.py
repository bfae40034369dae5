"""`tlib assign`: from a chapter's exercises to a student's notebook, an instructor's notebook, a rubric and a ZIP."""

from __future__ import annotations

import copy
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tlib import store
from tlib.course.exercises import SETUP, title, without_solutions
from tlib.course.grading import Assignment, assignment

if TYPE_CHECKING:
    from nbformat import NotebookNode

INTRODUCTION = """\
# Exercises to {chapter}

{count} exercises, {points} points. Write each function in its cell, in the place of `raise NotImplementedError(...)`; \
keep its name and its arguments. You may add cells and helper functions above it.

The cell below each exercise has checks that you may run as often as you like. Passing them is a good sign, and not \
the mark: your functions will be called with other inputs, drawn for your file alone, and compared with a reference \
solution. They may use Python, NumPy and PyTorch, and must leave their arguments as they are.

Before you hand in: restart the kernel, run all cells from top to bottom, save."""


def write(root: Path, chapter: str, out: Path) -> list[Path]:
    """Write a chapter's assignment to `out/<chapter>/` and return the files.

    `student/` holds what students get, once more as a ZIP for a learning platform; `instructor/` holds the notebook
    with solutions, which is also nbgrader's source notebook, and the rubric.

    Raises:
        tlib.course.CourseError: the chapter has no exercises, or they are not as they should be.
    """
    task = assignment(root, chapter)
    with_solutions = notebook(task)
    student = _text(without_solutions(with_solutions))
    folder = out / chapter
    files = {
        folder / "student" / f"{chapter}.ipynb": student,
        folder / "instructor" / f"{chapter}.ipynb": _text(with_solutions),
        folder / "instructor" / "rubric.md": rubric(task).encode(),
        folder / f"{chapter}.zip": _zip({f"{chapter}.ipynb": student}),
    }
    for path, content in files.items():
        store.write(path, content)
    return list(files)


def notebook(task: Assignment) -> NotebookNode:
    """The assignment as a notebook of its own, solutions included; it needs NumPy and PyTorch alone."""
    from nbformat import v4

    introduction = INTRODUCTION.format(chapter=task.chapter, count=len(task.exercises), points=task.points)
    cells = [
        v4.new_markdown_cell(introduction, id="introduction"),
        v4.new_code_cell(SETUP, id="set-up"),
    ]
    for exercise in task.exercises:
        cells += copy.deepcopy([exercise.text, exercise.solution, exercise.checks])
    book = v4.new_notebook(cells=cells)
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "tlib": {"assignment": task.chapter},
    }
    return book


def rubric(task: Assignment) -> str:
    """What earns points, in Markdown."""
    lines = [f"# Rubric: {task.chapter}", "", f"{task.points} points. A property earns all of its points or none."]
    for exercise in task.exercises:
        lines += [
            "",
            f"## {title(exercise)} ({exercise.points} points)",
            "",
            "| What has to hold | Points |",
            "|---|---|",
        ]
        lines += [f"| {each.name} | {each.points} |" for each in task.properties[exercise.id]]
    return "\n".join(lines) + "\n"


def _text(book: NotebookNode) -> bytes:
    import nbformat

    return (nbformat.writes(book, version=4) + "\n").encode()


def _zip(files: dict[str, bytes]) -> bytes:
    """A ZIP whose bytes depend on its contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
