"""Reading what students handed in: every platform's names, and a sentence for whatever cannot be read."""

import io
import json
import os
import warnings
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tlib.course import CourseError
from tlib.course import submissions as module
from tlib.course.submissions import MOST_BYTES, MOST_CELLS, Submission, collect, plain, student_of

CHAPTER = "03_ulmfit"
MORNING, EVENING = (2026, 3, 1, 8, 0, 0), (2026, 3, 1, 20, 0, 0)


def book(*cells: str, chapter: str | None = CHAPTER, checks: str = "", **metadata: Any) -> bytes:
    """A notebook with these code cells, and a locked check cell where `checks` has one."""
    code = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in cells]
    if checks:
        locked = {"nbgrader": {"grade_id": "pool-checks", "grade": True}}
        code.append({"cell_type": "code", "source": checks, "metadata": locked, "outputs": []})
    code.insert(0, {"cell_type": "markdown", "source": "# Exercises", "metadata": {}})
    own = {"tlib": {"assignment": chapter}} if chapter else {}
    return json.dumps({"cells": code, "metadata": {**own, **metadata}, "nbformat": 4, "nbformat_minor": 5}).encode()


def zipped(files: dict[str, bytes], time: tuple[int, ...] = MORNING) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, time), content)
    return buffer.getvalue()


def placed(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(*paths: Path, **options: Any) -> list[Submission]:
    return collect(list(paths), CHAPTER, {"pool-checks"}, **options)


def one(folder: Path, content: bytes, name: str = "ada.ipynb") -> Submission:
    placed(folder, {name: content})
    (submission,) = read(folder / name)
    return submission


def students(*paths: Path) -> list[str]:
    return [submission.student for submission in read(*paths)]


NAMES = [
    ("Ada Lovelace_12345_assignsubmission_file_/03_ulmfit.ipynb", "Ada Lovelace_12345"),  # Moodle
    ("Ada Lovelace_12345_assignsubmission_file/my answers.ipynb", "Ada Lovelace_12345"),
    ("Zoë O'Neil-Núñez_7_assignsubmission_file_/x.ipynb", "Zoë O'Neil-Núñez_7"),
    ("Ada_B_12345_assignsubmission_onlinetext_/x.ipynb", "Ada_B_12345"),
    ("lovelaceada_1234_56789_03_ulmfit-1.ipynb", "lovelaceada_1234"),  # Canvas
    ("lovelaceada_LATE_1234_56789_03_ulmfit.ipynb", "lovelaceada_1234"),
    ("lovelaceada_1234_56789_work/03_ulmfit.ipynb", "lovelaceada_1234"),  # a ZIP in Canvas's ZIP
    ("ada/03_ulmfit/03_ulmfit.ipynb", "ada"),  # nbgrader
    ("submitted/ada/03_ulmfit/03_ulmfit.ipynb", "ada"),
    ("submissions/ada/03_ulmfit.ipynb", "ada"),
    ("ada.ipynb", "ada"),
    ("ada.lovelace.ipynb", "ada.lovelace"),
    ("./ada/x.ipynb", "ada"),
    ("../../ada/x.ipynb", "ada"),
    ("ada\\x.ipynb", "ada"),
    ("a\nd\x00a\u202e.ipynb", "ada"),
    ("Zoe\u0308.ipynb", "Zoë"),  # as macOS spells it
    ("", "unnamed"),
]


@pytest.mark.parametrize(("name", "student"), NAMES)
def test_names_of_platforms(name: str, student: str):
    assert student_of(name) == student


def test_a_file_a_folder_and_a_zip_say_the_same(tmp_path: Path):
    files = {"ada.ipynb": book("x = 1"), "bob/03_ulmfit.ipynb": book("x = 2"), "bob/notes.txt": b"?"}
    folder, archive = placed(tmp_path / "all", files), tmp_path / "all.zip"
    archive.write_bytes(zipped(files))
    for found in (read(folder), read(archive), read(folder / "ada.ipynb", folder / "bob")):
        assert [(each.student, each.cells, each.problem) for each in found] == [
            ("ada", ("x = 1",), ""),
            ("bob", ("x = 2",), ""),
        ]


def test_a_moodle_export(tmp_path: Path):
    export = tmp_path / "Course-Exercises-77.zip"
    first, second = "Ada Lovelace_1_assignsubmission_file_", "Bob Ross_2_assignsubmission_file_"
    inner = zipped({"03_ulmfit.ipynb": book("x = 2")}, EVENING)
    export.write_bytes(zipped({f"{first}/03_ulmfit.ipynb": book("x = 1"), f"{second}/work.zip": inner}))
    found = read(export)
    assert [(each.student, each.cells) for each in found] == [
        ("Ada Lovelace_1", ("x = 1",)),
        ("Bob Ross_2", ("x = 2",)),
    ]
    assert found[1].handed_in == datetime(*EVENING)
    assert found[1].file == f"{second}/work/03_ulmfit.ipynb"


def test_a_canvas_export(tmp_path: Path):
    export = tmp_path / "submissions.zip"
    files = {
        "lovelaceada_LATE_12_99_03_ulmfit.ipynb": book("x = 1"),
        "rossbob_13_98_03_ulmfit-2.ipynb": book("x = 2"),
        "curiemarie_14_97_work.zip": zipped({"anything/at all.ipynb": book("x = 3")}),
    }
    export.write_bytes(zipped(files))
    found = {each.student: each for each in read(export)}
    assert set(found) == {"lovelaceada_12", "rossbob_13", "curiemarie_14"}
    assert [found[name].late for name in ("lovelaceada_12", "rossbob_13", "curiemarie_14")] == [True, False, False]
    assert found["curiemarie_14"].cells == ("x = 3",)


def test_an_nbgrader_folder(tmp_path: Path):
    files = {f"submitted/{name}/{CHAPTER}/{CHAPTER}.ipynb": book("x = 1") for name in ("ada", "bob")}
    assert students(placed(tmp_path, files)) == ["ada", "bob"]
    assert students(tmp_path / "submitted") == ["ada", "bob"]


def test_a_file_in_a_students_zip_was_not_handed_in_before_that_zip(tmp_path: Path):
    inner = zipped({"03_ulmfit.ipynb": book("x = 2")}, MORNING)
    (tmp_path / "all.zip").write_bytes(zipped({"Ada_1_assignsubmission_file_/work.zip": inner}, EVENING))
    (found,) = read(tmp_path / "all.zip", due=datetime(2026, 3, 1, 12))
    assert (found.handed_in, found.late) == (datetime(*EVENING), True)


def test_where_the_name_is_the_assignments_the_container_names_the_student(tmp_path: Path):
    archive = zipped({f"{CHAPTER}.ipynb": book("x = 1")})
    folder = placed(
        tmp_path, {"all/ada.zip": archive, "all/bob.zip": archive, "zoe/03_ulmfit (1).ipynb": book("x = 2")}
    )
    assert students(folder / "all") == ["ada", "bob"]
    assert students(folder / "all" / "ada.zip", folder / "zoe") == ["ada", "zoe"]


def test_a_zip_may_hold_zips_and_these_no_others(tmp_path: Path):
    inner = zipped({"deep.zip": zipped({"x.ipynb": book("x = 1")})})
    (tmp_path / "all.zip").write_bytes(zipped({"ada/work.zip": inner, "bob.ipynb": book("x = 1")}))
    found = {each.student: each for each in read(tmp_path / "all.zip")}
    assert found["ada"].problem == "a ZIP in a ZIP in a ZIP" and not found["ada"].cells
    assert not found["bob"].problem


def test_due_dates(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(zipped({"ada/x.ipynb": book("x = 1")}, MORNING))
    (tmp_path / "b.zip").write_bytes(zipped({"bob/x.ipynb": book("x = 1"), "bad/x.ipynb": b"?"}, EVENING))
    placed(tmp_path, {"zoe.ipynb": book("x = 1")})
    os.utime(tmp_path / "zoe.ipynb", (0, datetime(2026, 3, 1, 12, 0, 1).timestamp()))
    due = datetime(2026, 3, 1, 12)
    late = {each.student: each.late for each in read(tmp_path, due=due)}
    assert late == {"ada": False, "bob": True, "bad": True, "zoe": True}
    assert not any(each.late for each in read(tmp_path)), "without a due date nothing is late"
    assert not any(each.late for each in read(tmp_path / "a.zip", due=datetime(*MORNING))), "in time, to the second"


def test_of_several_files_the_last_one_comes_first(tmp_path: Path):
    (tmp_path / "1.zip").write_bytes(zipped({"ada/z.ipynb": book("x = 'old'"), "bob/x.ipynb": book("y = 1")}, MORNING))
    (tmp_path / "2.zip").write_bytes(zipped({"ada/a.ipynb": book("x = 'new'")}, EVENING))
    found = read(tmp_path / "1.zip", tmp_path / "2.zip")
    assert [(each.student, each.cells) for each in found] == [
        ("ada", ("x = 'new'",)),
        ("ada", ("x = 'old'",)),
        ("bob", ("y = 1",)),
    ]


PROBLEMS = [
    (b"", "not a notebook (JSONDecodeError)"),
    (b"PK\x03\x04", "not a notebook (JSONDecodeError)"),
    (b"\xff\xfe\xff", "not a notebook (UnicodeDecodeError)"),
    (book("x = 1")[:-9], "not a notebook (JSONDecodeError)"),
    (b"[]", "not a notebook (TypeError)"),
    (b"{}", "not a notebook (KeyError)"),
    (b'{"worksheets": [{"cells": []}], "metadata": {}}', "not a notebook (KeyError)"),
    (b'{"cells": 3, "metadata": {}}', "not a notebook (TypeError)"),
    (b'{"cells": [], "metadata": []}', "not a notebook (AttributeError)"),
    (b'{"cells": [], "metadata": null}', "not a notebook (AttributeError)"),
    (b'{"cells": [{"cell_type": "code", "source": null}], "metadata": {}}', "not a notebook (TypeError)"),
    (b"[" * 100_000, "not a notebook (RecursionError)"),
    (book("x = 1", chapter="02_elmo"), "a notebook of another assignment ('02_elmo')"),
    (book(*["x"] * (MOST_CELLS + 1)), "501 code cells, at most 500"),
    (
        b" " * (MOST_BYTES + 1),
        "too large (5,000,001 bytes, at most 5,000,000): outputs can be cleared before handing in",
    ),
]


@pytest.mark.parametrize(("content", "problem"), PROBLEMS, ids=[problem[:40] for _, problem in PROBLEMS])
def test_a_problem_is_a_sentence_and_costs_nobody_else(content: bytes, problem: str, tmp_path: Path):
    folder = placed(tmp_path / "all", {"ada.ipynb": content, "bob.ipynb": book("x = 1")})
    (tmp_path / "all.zip").write_bytes(zipped({"ada.ipynb": content, "bob.ipynb": book("x = 1")}))
    for path in (folder, tmp_path / "all.zip"):
        ada, bob = read(path)
        assert (ada.student, ada.problem, ada.cells) == ("ada", problem, ())
        assert (bob.student, bob.problem, bob.cells) == ("bob", "", ("x = 1",))


def test_a_notebook_at_the_limits_is_read(tmp_path: Path):
    assert len(one(tmp_path, book(*["x"] * MOST_CELLS)).cells) == MOST_CELLS
    content = book("x = 1")
    assert one(tmp_path, content + b" " * (MOST_BYTES - len(content))).cells == ("x = 1",)


def test_a_notebook_that_does_not_say_whose_it_is_is_read(tmp_path: Path):
    """Platforms and editors may drop metadata; the functions' names tell then."""
    assert one(tmp_path, book("x = 1", chapter=None)).cells == ("x = 1",)
    assert one(tmp_path, book("x = 1", chapter=None, tlib="?")).cells == ("x = 1",)


def test_a_damaged_zip_is_a_problem_of_its_own(tmp_path: Path):
    good = zipped({"ada/x.ipynb": book("x = 1" * 50)})
    spoiled = good.replace(b"x = 1", b"x = 2")  # the checksum tells
    files = {"cut.zip": good[: len(good) // 2], "none.zip": b"", "spoiled.zip": spoiled, "zoe.ipynb": book("x = 1")}
    found = {each.file: each for each in read(placed(tmp_path, files))}
    assert found["cut.zip"].problem == "a damaged ZIP file (BadZipFile)" and found["cut.zip"].student == "cut"
    assert found["none.zip"].problem == "a damaged ZIP file (BadZipFile)"
    assert found["ada/x.ipynb"].problem == "cannot be read (BadZipFile)"
    assert found["zoe.ipynb"].problem == ""


def test_a_damaged_zip_in_an_export(tmp_path: Path):
    (tmp_path / "all.zip").write_bytes(zipped({"ada/work.zip": b"PK\x03\x04", "bob/x.ipynb": book("x = 1")}))
    assert [(each.student, each.problem) for each in read(tmp_path / "all.zip")] == [
        ("ada", "a damaged ZIP file"),
        ("bob", ""),
    ]


def test_a_zip_whose_files_have_no_date(tmp_path: Path):
    content = bytearray(zipped({"ada/x.ipynb": book("x = 1"), "bob/x.ipynb": book("x = 2")}))
    date = zipfile.ZipInfo("x", MORNING).date_time
    packed = ((date[0] - 1980) << 9 | date[1] << 5 | date[2]).to_bytes(2, "little")
    (tmp_path / "all.zip").write_bytes(bytes(content).replace(packed, b"\0\0"))
    found = read(tmp_path / "all.zip", due=datetime(2026, 1, 1))
    assert [(each.student, each.handed_in, each.late, each.problem) for each in found] == [
        ("ada", None, False, ""),
        ("bob", None, False, ""),
    ]


def test_a_renamed_file_is_what_it_says_inside(tmp_path: Path):
    found = one(tmp_path, book("x = 1"), "final version (2).IPYNB")
    assert (found.student, found.problem) == ("final version (2)", "")
    assert one(tmp_path, zipped({"a.ipynb": book("x")}), "work.ipynb").problem.startswith("not a notebook")


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path):
    with pytest.raises(CourseError, match="nowhere does not exist: name notebooks, folders or ZIP files"):
        read(tmp_path / "nowhere")


def test_too_many_files_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_FILES", 2)
    files = {f"{name}.ipynb": book("x = 1") for name in "abc"}
    (tmp_path / "all.zip").write_bytes(zipped(files))
    for path in (tmp_path / "all.zip", placed(tmp_path / "all", files)):
        with pytest.raises(CourseError, match="has more than 2 files: is it the right one?"):
            read(path)


def test_a_folder_without_submissions_is_empty(tmp_path: Path):
    assert read(placed(tmp_path, {"notes.txt": b"", "data/table.csv": b""})) == []


def test_what_macos_and_jupyter_add_is_left_out(tmp_path: Path):
    files = {
        "ada/x.ipynb": book("x = 1"),
        "ada/.ipynb_checkpoints/x-checkpoint.ipynb": book("x = 0"),
        "ada/._x.ipynb": b"\x00\x05\x16\x07",
        "__MACOSX/ada/._x.ipynb": b"\x00\x05\x16\x07",
        "__MACOSX/ada/x.ipynb": b"\x00\x05\x16\x07",
    }
    (tmp_path / "all.zip").write_bytes(zipped(files))
    for path in (placed(tmp_path / "all", files), tmp_path / "all.zip"):
        assert [(each.file, each.cells) for each in read(path)] == [("ada/x.ipynb", ("x = 1",))]


def test_a_name_that_is_no_text_can_be_written_down(tmp_path: Path):
    (tmp_path / os.fsdecode(b"M\xfcller.ipynb")).write_bytes(book("x = 1"))
    (found,) = read(tmp_path)
    assert (found.student, found.file) == ("Mller", "Mller.ipynb")
    assert found.file.encode()


def test_locked_checks_are_not_run_and_keep_the_numbers_of_cells(tmp_path: Path):
    found = one(tmp_path, book("x = 1", checks="raise SystemExit"))
    assert found.cells == ("x = 1", "")
    kept = book("x = 1", checks="raise SystemExit").replace(b"pool-checks", b"my-checks")
    assert one(tmp_path, kept).cells == ("x = 1", "raise SystemExit"), "another cell is the student's own"


def test_sources_may_be_lists_of_lines(tmp_path: Path):
    content = json.loads(book("x"))
    content["cells"][1]["source"] = ["def f():\n", "    return 1"]
    assert one(tmp_path, json.dumps(content).encode()).cells == ("def f():\n    return 1",)


def test_the_digest_is_of_the_files_bytes(tmp_path: Path):
    first, second = one(tmp_path, book("x = 1"), "a.ipynb"), one(tmp_path, book("x = 1"), "b.ipynb")
    assert first.digest == second.digest != one(tmp_path, book("x = 1") + b" ").digest
    assert first.content == book("x = 1")


MAGICS = [
    ("%matplotlib inline\nx = 1", {"x": 1}),
    ("!pip install torch\nx = 1", {"x": 1}),
    ("%time x = 2\ny = 1", {"y": 1}),
    ("for i in range(3):\n    %time i\nx = 1", {"x": 1}),
    ("if True:\n    !ls\nx = 1", {"x": 1}),
    ("print?\nx = 1", {"x": 1}),
    ("?print\nx = 1", {"x": 1}),
    ("x = 7 \\\n    % 4", {"x": 3}),
    ('x = """\n%matplotlib inline\n"""', {"x": "\n%matplotlib inline\n"}),
    ("%%time\ndef f():\n    return 1\nx = f()", {"x": 1}),
    ("%%capture out\n%matplotlib inline\nx = 1", {"x": 1}),
    ("\n%%time\nx = 1", {"x": 1}),
    ("%%timeit\nx = 1", {}),
    ("%%bash\nexit 1", {}),
    ("%%html\n<b>x</b>", {}),
    ("%load_ext autoreload\n%autoreload 2", {}),
]


@pytest.mark.parametrize(("source", "names"), MAGICS, ids=[source.split("\n")[0] or "blank" for source, _ in MAGICS])
def test_magics_are_left_out_and_the_rest_is_run(source: str, names: dict[str, Any], tmp_path: Path):
    (run,) = one(tmp_path, book(source)).cells
    found: dict[str, Any] = {}
    exec(run, found)
    assert {name: value for name, value in found.items() if name in ("x", "y")} == names


def test_python_stays_as_it_is():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for source in ("x = 1  \n\n", "'%s' % 3", "# !pip install", "", "def f():\n\treturn 1"):
            assert plain(source) == source


def test_a_cell_that_is_no_python_at_all_is_left_to_fail():
    assert plain("def f(:\n    return 1") == "def f(:\n    return 1"
