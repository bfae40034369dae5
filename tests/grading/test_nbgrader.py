"""The instructor's notebook is nbgrader's source notebook too: release, hand in and autograde with the real program."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest

from tlib import paths, store
from tlib.course import assignment, grading
from tlib.course.exercises import solution_lines

ROOT = Path(__file__).parents[2]
CHAPTER = "03_ulmfit"
# nbgrader sets no upper bounds: these were run together.
PINS = [
    "nbgrader==0.9.6", "ipykernel==7.4.0", "jupyter_client==8.10.0", "jupyter_server==2.21.1", "nbclient==0.11.0",
    "nbconvert==7.17.2", "nbformat==5.11.1", "notebook==7.6.5", "sqlalchemy==2.1.9", "alembic==1.20.1",
]  # fmt: skip
LONG = 20  # letters of a line that is no coincidence
STATED = ["cut = max(1, int(total * cut_frac))"]  # a definition that the exercise's own docstring gives
READ_POINTS = """\
import json, sys
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    found = {each.student.id: [each.score, each.max_score, each.needs_manual_grade] for each in
             book.find_assignment(sys.argv[1]).submissions}
print(json.dumps(found))
"""
pytestmark = [pytest.mark.slow, pytest.mark.network]


def install(folder: Path) -> None:
    """An environment with nbgrader of its own, and torch and NumPy from this one, after its own packages."""
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-800:]
        pytest.fail(f"this test installs nbgrader, and pip could not: is a package index in reach?\n{said}")
    (own,) = (folder / "lib").glob("python*/site-packages")
    (own / "zz_project.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of nbgrader's programs, installed once and kept in the cache until a pin or Python changes."""
    folder = paths.cache() / "nbgrader-0.9.6"
    wanted = json.dumps([*PINS, sys.version, sysconfig.get_paths()["purelib"]])
    done = folder / "installed.json"
    with store.locked(folder):
        if not done.exists() or done.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            install(folder)
            store.write(done, wanted.encode())
    return folder / "bin"


@pytest.fixture(scope="module")
def course(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder in which the assignment was released, handed in by two students, and autograded."""
    folder = tmp_path_factory.mktemp("course")
    assignment.write(ROOT, CHAPTER, folder / "made")
    source = folder / "source" / CHAPTER / f"{CHAPTER}.ipynb"
    source.parent.mkdir(parents=True)
    shutil.copy(folder / "made" / CHAPTER / "instructor" / f"{CHAPTER}.ipynb", source)
    said(programs, folder, "nbgrader", "generate_assignment", CHAPTER)
    for student, notebook in (("perfect", source), ("stub", folder / "release" / CHAPTER / f"{CHAPTER}.ipynb")):
        place = folder / "submitted" / student / CHAPTER
        place.mkdir(parents=True)
        shutil.copy(notebook, place)
    said(programs, folder, "nbgrader", "autograde", CHAPTER)
    return folder


def said(programs: Path, folder: Path, program: str, *arguments: str) -> str:
    """What a program of the environment printed; its settings and kernels are those of the environment alone."""
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTER_DATA_DIR": str(folder / ".data"),
        "IPYTHONDIR": str(folder / ".ipython"),
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(programs / program), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def points(programs: Path, course: Path) -> dict[str, list[float | bool]]:
    """From the gradebook: points, points that there are, and whether someone has to look at it."""
    return json.loads(said(programs, course, "python", "-c", READ_POINTS, CHAPTER).splitlines()[-1])


def test_the_release_has_stubs_and_no_solution(course: Path):
    released = nbformat.read(course / "release" / CHAPTER / f"{CHAPTER}.ipynb", 4)
    text = "\n".join(cell.source for cell in released.cells)
    task = grading.assignment(ROOT, CHAPTER)
    lines = [line for each in task.exercises for line in solution_lines(each) if len(line) >= LONG]
    assert len(lines) > 15
    assert [line for line in lines if line in text and line not in STATED] == []
    assert "SOLUTION" not in text
    assert text.count("raise NotImplementedError()") == len(task.exercises)
    for exercise in task.exercises:
        assert exercise.checks.source in text and exercise.text.source in text


def test_a_perfect_notebook_has_every_point_and_stubs_have_none(programs: Path, course: Path):
    full = grading.assignment(ROOT, CHAPTER).points
    assert points(programs, course) == {"perfect": [full, full, False], "stub": [0, full, False]}


def test_what_tlib_hands_out_can_be_autograded_too(programs: Path, course: Path):
    """A student of a platform without nbgrader's release gets `tlib assign`'s notebook: the same cells."""
    place = course / "submitted" / "other" / CHAPTER
    place.mkdir(parents=True)
    shutil.copy(course / "made" / CHAPTER / "student" / f"{CHAPTER}.ipynb", place)
    said(programs, course, "nbgrader", "autograde", CHAPTER, "--student", "other")
    assert points(programs, course)["other"] == [0, grading.assignment(ROOT, CHAPTER).points, False]
