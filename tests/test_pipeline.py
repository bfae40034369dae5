"""The pipeline on a tiny book in a temporary folder: real notebooks, real kernels, and a real site where it matters."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from filelock import FileLock

from tlib import paths, pipeline
from tlib.pipeline import BookError, Project

ROOT = Path(__file__).parent.parent
CELL = "import json, os, pathlib, time, tlib\nprint('greeting:', tlib.greeting(), time.time_ns())"
RECORD = "pathlib.Path(os.environ['TLIB_RESULTS'], '{name}.json').write_text(json.dumps({{'said': tlib.greeting()}}))"


def write_notebook(root: Path, name: str, *cells: str, **metadata: object) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}")], metadata=metadata)
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A book of two chapters, with a library of its own and a site helper that adds nothing."""
    for folder in ("book", "notebooks", "tlib"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tlib" / "__init__.py").write_text("def greeting():\n    return 'good morning'\n")
    (tmp_path / "constraints.txt").write_text("numpy==2.4.6\n")
    (tmp_path / "_config.yml").write_text(
        'title: Tiny\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: "off"\n'
    )
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n  - caption: One\n    chapters:\n"
        "      - file: notebooks/01_first\n        sections:\n          - file: notebooks/02_second\n"
    )
    (tmp_path / "book" / "index.md").write_text("# Tiny\n")
    for name in ("01_first", "02_second"):
        write_notebook(tmp_path, name, CELL, RECORD.format(name=name))
    monkeypatch.setenv("TLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline, "site", SimpleNamespace(generate=lambda stage, records: None))
    monkeypatch.setattr(pipeline, "pages", SimpleNamespace(finish=lambda html: None))
    return Project(tmp_path)


def output(project: Project, chapter: str) -> str:
    """What the first code cell of the kept notebook printed."""
    notebook = nbformat.read(project.executed / f"{chapter}.ipynb", 4)
    return notebook.cells[1].outputs[0].text


def page(project: Project, chapter: str) -> str:
    return (project.build / "html" / "notebooks" / f"{chapter}.html").read_text()


def fingerprint(project: Project) -> str:
    return pipeline.fingerprint(project, project.notebook("01_first"))


def test_chapters_are_read_at_any_depth_in_order(project: Project) -> None:
    assert project.chapters() == ["01_first", "02_second"]


@pytest.mark.parametrize(
    "changed", ["tlib/__init__.py", "tlib/checkpoints/lm.safetensors", "constraints.txt", "notebooks/01_first.ipynb"]
)
def test_the_fingerprint_follows_every_input(project: Project, changed: str) -> None:
    before = fingerprint(project)
    path = project.root / changed
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert fingerprint(project) != before


def test_the_fingerprint_follows_profile_and_data(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint(project)
    assert pipeline.fingerprint(Project(project.root, "colab"), project.notebook("01_first")) != first
    hashes = {"brown": "aa"}
    monkeypatch.setattr(pipeline, "data", SimpleNamespace(hashes=lambda names: hashes))
    write_notebook(project.root, "01_first", CELL, tlib={"data": ["brown"]})
    assert pipeline.data_names(project.notebook("01_first")) == ["brown"]
    declared = fingerprint(project)
    hashes["brown"] = "bb"
    assert fingerprint(project) not in (first, declared)


@pytest.mark.parametrize(
    "name", ["cli.py", "site.py", "course/specs.py", "__pycache__/x.pyc", "checkpoints/lm.safetensors.lock"]
)
def test_the_fingerprint_leaves_out_what_no_chapter_uses(project: Project, name: str) -> None:
    before = fingerprint(project)
    path = project.root / "tlib" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("changed")
    assert fingerprint(project) == before


def test_no_chapter_and_no_other_module_uses_what_the_fingerprint_leaves_out() -> None:
    library = ROOT / "tlib"
    left_out = {library / name for name in (*pipeline.BOOK_ONLY, "pipeline.py")}
    sources = [path for path in library.rglob("*.py") if left_out.isdisjoint([path, *path.parents])]
    for path in [*sources, *(ROOT / "notebooks").glob("*.ipynb")]:
        text = path.read_text()
        for name in pipeline.BOOK_ONLY:
            module = name.removesuffix(".py")
            assert f"tlib.{module}" not in text and f"import {module}" not in text, f"{path.name} uses tlib.{module}"


@pytest.mark.slow
def test_a_change_in_the_library_reaches_the_page_and_nothing_runs_without_one(project: Project) -> None:
    """The stale-output trap: a cache keyed on notebooks alone would still show the old greeting."""
    index = pipeline.build_book(project)
    assert index.exists() and "good morning" in page(project, "01_first")
    first, built = output(project, "01_first"), index.stat().st_mtime_ns

    assert pipeline.build_book(project) == index
    assert output(project, "01_first") == first and index.stat().st_mtime_ns == built

    (project.root / "tlib" / "__init__.py").write_text("def greeting():\n    return 'good evening'\n")
    pipeline.build_book(project)
    assert "good evening" in page(project, "01_first") and "good morning" not in page(project, "01_first")
    assert json.loads((project.build / "stage/book/results/laptop/02_second.json").read_text()) == {
        "said": "good evening"
    }


@pytest.mark.slow
def test_a_failed_notebook_is_shown_and_leaves_the_previous_site(
    project: Project, capfd: pytest.CaptureFixture
) -> None:
    (project.build / "html").mkdir(parents=True)
    (project.build / "html" / "index.html").write_text("the previous site")
    write_notebook(project.root, "02_second", CELL, "shape = (3, 4)\nraise ValueError(f'bad shape {shape}')")
    with pytest.raises(BookError, match=r"^02_second failed"):
        pipeline.build_book(project)
    printed = capfd.readouterr().out
    assert "shape = (3, 4)" in printed and "bad shape (3, 4)" in printed
    assert (project.build / "html" / "index.html").read_text() == "the previous site"
    assert pipeline.is_fresh(project, "01_first"), "the chapter that passed need not run again"
    assert not pipeline.is_fresh(project, "02_second")
    assert [path.name for path in project.failed.iterdir()] == ["02_second.ipynb"], "kept to be looked at"


@pytest.mark.slow
def test_a_notebook_without_a_record_fails(project: Project) -> None:
    write_notebook(project.root, "01_first", CELL)
    with pytest.raises(BookError, match=r"01_first left no record.*ch\.finish"):
        pipeline.run_chapters(project, ["01_first"])


@pytest.mark.slow
def test_an_accepted_run_becomes_the_committed_record(project: Project) -> None:
    assert pipeline.run_chapters(project, ["01_first"]) == {"01_first": {"said": "good morning"}}
    assert not (project.committed / "01_first.json").exists(), "only --accept may touch the committed record"
    pipeline.run_chapters(project, ["01_first"], accept=True)
    assert json.loads((project.committed / "01_first.json").read_text()) == {"said": "good morning"}
    assert pipeline.is_fresh(project, "01_first"), "accepting a run does not ask for another"
    (project.committed / "01_first.json").write_text('{"said": "something else"}')
    assert not pipeline.is_fresh(project, "01_first"), "a committed record changed by hand is compared anew"


@pytest.mark.slow
def test_a_warning_keeps_the_site_from_being_published(project: Project) -> None:
    (project.root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (project.root / "book" / "index.md").write_text("# Tiny\n\n[nowhere](missing.md)\n")
    with pytest.raises(BookError, match="not built(.|\n)*missing"):
        pipeline.build_book(project)
    assert not (project.build / "html").exists()


def test_only_one_build_at_a_time(project: Project) -> None:
    project.build.mkdir()
    with FileLock(project.build / ".lock"), pytest.raises(BookError, match="another build is running"):
        pipeline.build_book(project)


def test_an_unknown_chapter_is_named(project: Project) -> None:
    with pytest.raises(BookError, match=r"unknown chapter 99_none: _toc\.yml lists 01_first, 02_second"):
        pipeline.run_chapters(project, ["99_none"])


def test_a_run_resumes_its_own_checkpoints_and_sets_those_of_another_version_aside(project: Project) -> None:
    folder = paths.chapter_cache("01_first", "laptop")
    folder.mkdir(parents=True)
    (folder / "stage.safetensors").write_text("of a version without a key")
    pipeline._set_aside_stale(folder, "one")
    assert sorted(path.name for path in folder.iterdir()) == ["key"]
    (folder / "stage.safetensors").write_text("of version one")
    pipeline._set_aside_stale(folder, "one")
    assert (folder / "stage.safetensors").read_text() == "of version one"
    pipeline._set_aside_stale(folder, "two")
    assert not (folder / "stage.safetensors").exists()
    assert (folder.with_name("laptop.old") / "stage.safetensors").read_text() == "of version one"


def test_every_run_has_its_key_beside_its_checkpoints(project: Project) -> None:
    pipeline.run_chapters(project, ["01_first"])
    assert (paths.chapter_cache("01_first", "laptop") / "key").read_text() == fingerprint(project)


def test_a_kept_run_without_its_key_does_not_count(project: Project) -> None:
    project.executed.mkdir(parents=True)
    shutil.copy(project.notebook("01_first"), project.executed)
    assert not pipeline.is_fresh(project, "01_first")


def test_a_missing_and_a_damaged_notebook_are_named(project: Project) -> None:
    project.notebook("02_second").write_text("{ cut off")
    with pytest.raises(BookError, match=r"02_second.ipynb is not a notebook.*restore it"):
        pipeline.build_book(project)
    project.notebook("02_second").unlink()
    with pytest.raises(BookError, match=r"_toc.yml lists chapters that notebooks/ does not have: 02_second"):
        pipeline.build_book(project)
