"""Exercises and assignments: students get texts, stubs and visible checks, and nothing that gives a solution away."""

import ast
import inspect
import re
import zipfile
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode, v4

from tlib import cli
from tlib.course import CourseError, assignment, grading, specs
from tlib.course.exercises import (
    BEGIN,
    END,
    SETUP,
    Exercise,
    find,
    of_chapter,
    solution_lines,
    stub,
    title,
    without_solutions,
)

ROOT = Path(__file__).parents[2]
CHAPTERS = list(specs.CHAPTERS)
STATED = ["cut = max(1, int(total * cut_frac))"]  # a definition that the exercise's own docstring gives
LONG = 20  # letters of a line that cannot be the same by chance, as `return x` may be
SOLUTION = f"""\
def double(x):
    \"\"\"Twice x.\"\"\"
    {BEGIN}
    if x is None:
        raise ValueError("nothing to double")
    return x + x
    {END}"""


@cache
def task(chapter: str) -> grading.Assignment:
    return grading.assignment(ROOT, chapter)


EXERCISES = [(chapter, each) for chapter in CHAPTERS for each in of_chapter(ROOT, chapter)]
each_exercise = pytest.mark.parametrize(
    ("chapter", "exercise"), EXERCISES, ids=[f"{c[:2]}-{e.id}" for c, e in EXERCISES]
)
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


def toy() -> NotebookNode:
    """A notebook with one exercise, as it should be."""
    marks = {"solution": True, "grade": False, "grade_id": "double", "locked": False, "schema_version": 3}
    checks = {"solution": False, "grade": True, "grade_id": "double-checks", "points": 2, "locked": True}
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell("### Exercise 1: twice\n\n*5 minutes, 2 points.* *Hint:* add."),
            v4.new_code_cell(SOLUTION, metadata={"nbgrader": marks}),
            v4.new_code_cell("assert double(2) == 4", metadata={"nbgrader": checks}),
        ]
    )


def student_notebook(chapter: str) -> NotebookNode:
    return without_solutions(assignment.notebook(task(chapter)))


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def named(source: str, setup: str = SETUP) -> dict[str, Any]:
    """The names that a cell defines after the set-up cell."""
    names: dict[str, Any] = {}
    exec(setup, names)
    exec(source, names)
    return names


def test_an_exercise_is_its_text_its_solution_and_its_checks():
    (found,) = find(toy(), "toy")
    assert (found.id, found.function, found.points) == ("double", "double", 2)
    assert title(found) == "Exercise 1: twice"
    assert found.checks.source == "assert double(2) == 4"
    assert found.reference()(21) == 42


def test_cells_without_a_solution_are_no_exercises():
    notebook = toy()
    notebook.cells = [v4.new_code_cell("1"), *notebook.cells, v4.new_markdown_cell("end")]
    assert [each.id for each in find(notebook, "toy")] == ["double"]
    assert find(v4.new_notebook(), "empty") == []


def no_text(notebook: NotebookNode) -> None:
    notebook.cells[0] = v4.new_code_cell("1")


def no_cell_before(notebook: NotebookNode) -> None:
    del notebook.cells[0]


def no_checks(notebook: NotebookNode) -> None:
    del notebook.cells[2]


def checks_without_points(notebook: NotebookNode) -> None:
    del notebook.cells[2].metadata.nbgrader["points"]


def checks_that_are_not_graded(notebook: NotebookNode) -> None:
    notebook.cells[2].metadata.nbgrader.grade = False


def no_beginning(notebook: NotebookNode) -> None:
    notebook.cells[1].source = SOLUTION.replace(BEGIN, "# here")


def two_ends(notebook: NotebookNode) -> None:
    notebook.cells[1].source = f"{SOLUTION}\n    {END}"


def end_before_beginning(notebook: NotebookNode) -> None:
    swapped = SOLUTION.replace(BEGIN, "X").replace(END, BEGIN).replace("X", END)
    notebook.cells[1].source = swapped


def no_function(notebook: NotebookNode) -> None:
    notebook.cells[1].source = f"{BEGIN}\nx = 1\n{END}"


def two_functions(notebook: NotebookNode) -> None:
    notebook.cells[1].source = f'def other():\n    """Other."""\n\n\n{SOLUTION}'


def no_docstring(notebook: NotebookNode) -> None:
    notebook.cells[1].source = SOLUTION.replace('    """Twice x."""\n', "")


def no_python(notebook: NotebookNode) -> None:
    notebook.cells[1].source = SOLUTION.replace("def double(x):", "def double(x:")


def the_same_id_twice(notebook: NotebookNode) -> None:
    notebook.cells += toy().cells


MALFORMED = [
    (no_text, "Markdown cell"),
    (no_cell_before, "Markdown cell"),
    (no_checks, "graded cell with points"),
    (checks_without_points, "graded cell with points"),
    (checks_that_are_not_graded, "graded cell with points"),
    (no_beginning, f"one {BEGIN} and one {END}"),
    (two_ends, f"one {BEGIN} and one {END}"),
    (end_before_beginning, f"one {BEGIN} and one {END}"),
    (no_function, "exactly one function, with a docstring"),
    (two_functions, "exactly one function, with a docstring"),
    (no_docstring, "exactly one function, with a docstring"),
    (no_python, "no Python"),
    (the_same_id_twice, "two exercises have this id"),
]


@pytest.mark.parametrize(("damage", "remedy"), MALFORMED, ids=[damage.__name__ for damage, _ in MALFORMED])
def test_a_malformed_exercise_is_named_with_its_remedy(damage: Callable, remedy: str):
    notebook = toy()
    damage(notebook)
    with pytest.raises(CourseError, match=re.escape(remedy)) as error:
        find(notebook, "toy")
    assert str(error.value).startswith("toy, exercise 'double': ")


def test_a_solution_cell_without_an_id_is_an_error_too():
    notebook = toy()
    del notebook.cells[1].metadata.nbgrader["grade_id"]
    with pytest.raises(CourseError, match="grade_id"):
        find(notebook, "toy")


def test_a_stub_stands_in_the_place_of_the_solution():
    assert stub(SOLUTION) == 'def double(x):\n    """Twice x."""\n    raise NotImplementedError("write this function")'
    assert stub("x = 1\ny = 2") == "x = 1\ny = 2", "nothing to take away"


def test_solution_lines_are_those_between_the_delimiters():
    (found,) = find(toy(), "toy")
    assert solution_lines(found) == ["if x is None:", 'raise ValueError("nothing to double")', "return x + x"]


def test_taking_the_solutions_away_leaves_the_original_and_the_other_cells_alone():
    notebook = toy()
    notebook.cells.append(v4.new_code_cell("print(4)", outputs=[v4.new_output("stream", text="4\n")]))
    for cell in notebook.cells[1:3]:
        cell.outputs, cell.execution_count = [v4.new_output("stream", text="x + x\n")], 3
    public = without_solutions(notebook)
    assert notebook.cells[1].source == SOLUTION and notebook.cells[1].outputs
    assert BEGIN not in public.cells[1].source and "x + x" not in nbformat.writes(public)
    assert [cell.execution_count for cell in public.cells[1:3]] == [None, None]
    assert public.cells[2].source == notebook.cells[2].source
    assert public.cells[3] == notebook.cells[3]


@each_chapter
def test_a_students_notebook_gives_no_solution_and_no_secret_case_away(chapter: str):
    notebook = student_notebook(chapter)
    text = "\n".join(cell.source for cell in notebook.cells)
    module = import_module(f"tlib.course.specs.{specs.CHAPTERS[chapter]}")
    solutions = [line for each in task(chapter).exercises for line in solution_lines(each)]
    functions = {each.cases for own in module.PROPERTIES.values() for each in own}
    helpers = inspect.getmembers(module, lambda each: inspect.isfunction(each) and each.__module__ == module.__name__)
    functions |= {helper for _, helper in helpers}
    cases = [line.strip() for function in functions for line in inspect.getsource(function).splitlines()]
    long = [line for line in (*solutions, *cases) if len(line) >= LONG]
    assert len(long) > 50
    assert [line for line in long if line in text and line not in STATED] == []
    assert BEGIN not in text and END not in text
    assert not any(cell.get("outputs") for cell in notebook.cells)


@each_chapter
def test_the_published_chapter_has_stubs_as_well(chapter: str):
    public = without_solutions(nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", 4))
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in public.cells if cell.metadata.get("nbgrader")}
    for exercise in task(chapter).exercises:
        assert cells[exercise.id].source == stub(exercise.solution.source)
        assert not cells[exercise.id].outputs and not cells[exercise.checks.metadata.nbgrader.grade_id].outputs


@each_exercise
def test_a_stub_says_that_it_is_one(chapter: str, exercise: Exercise):
    function = named(stub(exercise.solution.source))[exercise.function]
    with pytest.raises(NotImplementedError, match="write this function"):
        function(*[None] * len(inspect.signature(function).parameters))


@each_exercise
def test_a_stub_names_arguments_shapes_and_errors(chapter: str, exercise: Exercise):
    function = named(stub(exercise.solution.source))[exercise.function]
    _, args, returns, raises = re.split(r"\n\nArgs:|\n\nReturns:|\n\nRaises:", inspect.getdoc(function))
    assert all(re.search(rf"\b{name}\b", args) for name in inspect.signature(function).parameters)
    for section in (args, returns):
        assert "tensor" not in section or re.search(r"tensors? \[", section), "a tensor without its shape"
    assert "ValueError" in raises


@each_exercise
def test_an_exercise_tells_its_time_its_points_and_a_hint(chapter: str, exercise: Exercise):
    said = re.search(r"^\*(\d+) minutes, (\d+) points\.\* ", exercise.text.source, re.MULTILINE)
    assert said and 5 <= int(said[1]) <= 60
    assert int(said[2]) == exercise.points == exercise.checks.metadata.nbgrader.points
    assert len(exercise.text.source.partition("*Hint:* ")[2]) > 5
    assert title(exercise).startswith("Exercise ")


@each_chapter
def test_points_of_properties_add_up(chapter: str):
    own = task(chapter)
    for exercise in own.exercises:
        assert sum(each.points for each in own.properties[exercise.id]) == exercise.points
        names = [each.name for each in own.properties[exercise.id]]
        assert len(set(names)) == len(names)
    assert set(own.properties) == {exercise.id for exercise in own.exercises}
    assert own.points == sum(exercise.points for exercise in own.exercises)


def test_an_exercise_whose_properties_do_not_add_up_is_an_error(monkeypatch: pytest.MonkeyPatch):
    properties = dict(specs.of_chapter("03_ulmfit"))
    properties["pool-chunks"] = properties["pool-chunks"][1:]
    monkeypatch.setattr(specs, "of_chapter", lambda chapter: properties)
    with pytest.raises(CourseError, match="pool-chunks: its properties are worth 4 points, its notebook cell says 5"):
        grading.assignment(ROOT, "03_ulmfit")


@each_chapter
def test_with_the_solutions_filled_in_the_notebook_runs_on_its_own(chapter: str):
    solved, names = student_notebook(chapter), {}
    solutions = {each.id: each.solution.source for each in task(chapter).exercises}
    for cell in code_cells(solved):
        cell.source = solutions.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    for cell in code_cells(solved):
        exec(cell.source, names)
    used = {
        alias.name if isinstance(node, ast.Import) else node.module
        for cell in code_cells(solved)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in used} <= {"math", "itertools", "numpy", "torch"}


@each_chapter
def test_with_stubs_every_check_fails(chapter: str):
    cells, names = code_cells(student_notebook(chapter)), {}
    checks = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
    for cell in cells:
        if cell not in checks:
            exec(cell.source, names)
    assert len(checks) == len(task(chapter).exercises)
    for cell in checks:
        with pytest.raises(NotImplementedError):
            exec(cell.source, names)


@each_chapter
def test_an_assignment_is_four_files_that_are_the_same_each_time(chapter: str, tmp_path: Path):
    first, second = (assignment.write(ROOT, chapter, tmp_path / name) for name in ("first", "second"))
    inside = [path.relative_to(tmp_path / "first").as_posix() for path in first]
    expected = (f"student/{chapter}.ipynb", f"instructor/{chapter}.ipynb", "instructor/rubric.md", f"{chapter}.zip")
    assert inside == [f"{chapter}/{name}" for name in expected]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    student, instructor, rubric, archive = first
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [f"{chapter}.ipynb"]
        assert opened.read(f"{chapter}.ipynb") == student.read_bytes()
    assert sorted(path for path in (tmp_path / "first").rglob("*") if path.is_file()) == sorted(first), "no other file"
    for path in (student, instructor):
        nbformat.validate(nbformat.read(path, 4))
    for exercise in task(chapter).exercises:
        assert exercise.solution.source in [cell.source for cell in nbformat.read(instructor, 4).cells]
        assert f"## {title(exercise)} ({exercise.points} points)" in rubric.read_text()
        for each in task(chapter).properties[exercise.id]:
            assert f"| {each.name} | {each.points} |" in rubric.read_text()


@each_chapter
def test_the_notebook_says_whose_assignment_it_is_and_what_it_is_worth(chapter: str):
    notebook = student_notebook(chapter)
    assert notebook.metadata.tlib.assignment == chapter
    points = sum(exercise.points for exercise in task(chapter).exercises)
    assert f"{len(task(chapter).exercises)} exercises, {points} points" in notebook.cells[0].source
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_the_command_writes_and_names_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("sys.argv", ["tlib", "assign", "03_ulmfit", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4 and all(Path(line).is_file() for line in printed)


def test_an_unknown_chapter_is_answered_with_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["tlib", "assign", "99_none", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="no chapter is called '99_none'; there are 01_semi") as end:
        cli.main()
    assert all(chapter in str(end.value) for chapter in CHAPTERS)
    assert list(tmp_path.iterdir()) == []


def test_a_chapter_without_exercises_is_an_error(tmp_path: Path):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(v4.new_notebook(), tmp_path / "notebooks" / "08_none.ipynb")
    with pytest.raises(CourseError, match="08_none has no exercises"):
        assignment.write(tmp_path, "08_none", tmp_path / "out")
    with pytest.raises(CourseError, match="nothing can be graded for '08_none': there are 01_semi"):
        specs.of_chapter("08_none")
