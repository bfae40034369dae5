"""From notebooks to website: fetch the data, run every changed notebook once, build the site.

A notebook runs again only when one of its inputs changed (see `fingerprint`); its executed copy and its record are kept
in `_build/executed`. The site is built from those, in the staging copy `_build/stage`, with execution switched off, and
replaces `_build/html` only when everything before it passed.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import yaml
from filelock import FileLock, Timeout

from tlib import data, pages, paths, site, store
from tlib.course.exercises import without_solutions

WORKERS = 2
# Seconds after which a cell counts as hung: several times each profile's budget for a whole chapter.
CELL_TIMEOUT = {"laptop": 1800, "colab": 3 * 3600, "paper": 30 * 24 * 3600}
# What makes the book and the courses around the chapters. No chapter uses it, so a change in it re-runs none.
BOOK_ONLY = {"cli.py", "site.py", "pages.py", "drawings.py", "glossary.py", "pdf.py", "course"}


class BookError(RuntimeError):
    """The book could not be made. The message names the step and the remedy; it is shown without a traceback."""


class Project:
    """A checkout of the book at `root`, to be run at one profile ("laptop", "colab" or "paper")."""

    def __init__(self, root: Path, profile: str = "laptop"):
        self.root, self.profile = root, profile
        self.build = root / "_build"
        self.committed = root / "book" / "results" / profile
        # Where each chapter's last good run is kept: executed notebook, record (.json), and .key of their inputs.
        self.executed = self.build / "executed" / profile
        self.failed = self.build / "failed" / profile  # and its last failed one

    def notebook(self, chapter: str) -> Path:
        return self.root / "notebooks" / f"{chapter}.ipynb"

    def chapters(self) -> list[str]:
        """The chapters of `_toc.yml` in reading order: `03_ulmfit` for `notebooks/03_ulmfit`."""
        toc = yaml.safe_load((self.root / "_toc.yml").read_text(encoding="utf-8"))
        names = [Path(file).stem for file in _toc_files(toc) if file.startswith("notebooks/")]
        if missing := [name for name in names if not self.notebook(name).exists()]:
            raise BookError(f"_toc.yml lists chapters that notebooks/ does not have: {', '.join(missing)}")
        return names


def build_book(project: Project) -> Path:
    """Run what changed, build the site and publish it; returns the site's `index.html`.

    Raises `BookError` when a notebook fails or the site build warns; the site published before stays in place.
    """
    chapters = project.chapters()
    with _locked(project):
        stale = [chapter for chapter in chapters if not is_fresh(project, chapter)]
        print(f"{len(chapters) - len(stale)} of {len(chapters)} chapters are unchanged since they last ran")
        _execute(project, stale)
        return _build_site(project, _stage(project, chapters))


def run_chapters(project: Project, names: list[str], accept: bool = False) -> dict[str, dict]:
    """Run the named chapters, changed or not, and return their records by name.

    With `accept`, each new record becomes the committed one in `book/results/<profile>/`.
    Raises `BookError` on an unknown name or a failed notebook.
    """
    if unknown := sorted(set(names) - set(project.chapters())):
        raise BookError(f"unknown chapter {', '.join(unknown)}: _toc.yml lists {', '.join(project.chapters())}")
    with _locked(project):
        _execute(project, names, accept)
    return {name: json.loads((project.executed / f"{name}.json").read_text(encoding="utf-8")) for name in names}


def is_fresh(project: Project, chapter: str) -> bool:
    """Whether the kept outcome of the chapter is what a run would give now."""
    key = project.executed / f"{chapter}.key"
    return key.exists() and key.read_text() == _key(project, chapter, fingerprint(project, project.notebook(chapter)))


def fingerprint(project: Project, notebook: Path) -> str:
    """SHA-256 over what a notebook's outputs depend on.

    That is: the notebook, every file of `tlib/` except those of book and course, the pinned versions, Python's own
    version, the profile and the hashes of the data sets that the notebook declares.
    """
    names, library = data_names(notebook), project.root / "tlib"
    facts = {
        "notebook": _sha256(notebook),
        "library": _tree_hash(library, leave_out={library / name for name in BOOK_ONLY}),
        "versions": _sha256(project.root / "constraints.txt"),
        "python": sys.version,
        "profile": project.profile,
        "data": data.hashes(names) if names else {},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def data_names(notebook: Path) -> list[str]:
    """The data sets that a notebook declares in its metadata: `{"tlib": {"data": ["bbc_news", ...]}}`."""
    try:
        metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    except (ValueError, KeyError) as error:
        raise BookError(f"{notebook.name} is not a notebook ({error}): restore it from version control") from None
    return metadata.get("tlib", {}).get("data", [])


@contextmanager
def _locked(project: Project) -> Iterator[None]:
    project.build.mkdir(exist_ok=True)
    try:
        with FileLock(project.build / ".lock", timeout=0):
            yield
    except Timeout:
        raise BookError(f"another build is running in {project.build}: wait until it has ended") from None


def _key(project: Project, chapter: str, before: str) -> str:
    # The committed record is an input too, since `ch.finish` compares with it; accepting a run replaces it.
    return f"{before} {_sha256(project.committed / f'{chapter}.json')}"


def _execute(project: Project, chapters: list[str], accept: bool = False) -> None:
    """Run the chapters and keep the outcome of each that passed; raises `BookError` if one did not."""
    if not chapters:
        return
    for name in sorted({name for chapter in chapters for name in data_names(project.notebook(chapter))}):
        print(f"data set {name}")
        data.fetch(name)
    # nbmake collects nothing below a folder named _build, so the notebooks run in a folder outside the checkout.
    with TemporaryDirectory(prefix="tlib-") as name:
        folder = Path(name)
        copies = {chapter: Path(shutil.copy2(project.notebook(chapter), folder)) for chapter in chapters}
        before = {chapter: fingerprint(project, copy) for chapter, copy in copies.items()}
        for chapter, key in before.items():
            _set_aside_stale(paths.chapter_cache(chapter, project.profile), key)
        passed = _run_notebooks(project, list(copies.values()), accept)
        for chapter in passed:
            record, key = folder / f"{chapter}.json", project.executed / f"{chapter}.key"
            if not record.exists():
                raise BookError(f"{chapter} left no record: the last cell of a chapter calls ch.finish()")
            key.unlink(missing_ok=True)  # written again last: without its key, a kept run does not count
            for target in [project.executed, project.committed] if accept else [project.executed]:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(record, target)
            shutil.copy2(copies[chapter], project.executed)
            key.write_text(_key(project, chapter, before[chapter]))
        failed = [chapter for chapter in chapters if chapter not in passed]
        for chapter in failed:  # what the notebook and its record got to, to be looked at
            project.failed.mkdir(parents=True, exist_ok=True)
            for path in folder.glob(f"{chapter}.*"):
                shutil.copy2(path, project.failed)
    if failed:
        raise BookError(
            f"{', '.join(failed)} failed: its failing cell stands above, all that ran is in {project.failed}"
        )


def _set_aside_stale(folder: Path, key: str) -> None:
    """Let a run resume only what it began itself: checkpoints of an earlier version go to a folder beside this one."""
    mark = folder / "key"
    if folder.exists() and not (mark.exists() and mark.read_text() == key):
        old = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(key)


def _run_notebooks(project: Project, notebooks: list[Path], accept: bool) -> set[str]:
    """Run notebooks in place, `WORKERS` at a time with one thread each; returns the names of those that passed."""
    folder, report = notebooks[0].parent, notebooks[0].with_name("report.xml")
    print(f"running {', '.join(notebook.stem for notebook in notebooks)} ({project.profile} profile)")
    command = [sys.executable, "-m", "pytest", "-v", "--no-header", "-c", os.devnull, "--rootdir", str(folder)]
    command += ["--nbmake", "--overwrite", "--nbmake-kernel=python3", f"--junitxml={report}", "-p", "no:cacheprovider"]
    command += [f"--nbmake-timeout={CELL_TIMEOUT[project.profile]}", "-n", str(min(WORKERS, len(notebooks)))]
    subprocess.run([*command, *map(str, notebooks)], cwd=folder, env=_environment(project, folder, accept), check=False)
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    return {Path(case.get("name", "")).stem for case in cases if not case.findall("failure") + case.findall("error")}


def _environment(project: Project, results: Path, accept: bool) -> dict[str, str]:
    """The kernels' environment: one thread each, this checkout's `tlib` and records, the new records to `results`."""
    return {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(project.root), os.environ.get("PYTHONPATH")))),
        "PYTHONHASHSEED": "0",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "TLIB_PROFILE": project.profile,
        "TLIB_RESULTS": str(results),
        "TLIB_COMMITTED": str(project.committed),
        "TLIB_ACCEPT": "1" if accept else "",
    }


def _stage(project: Project, chapters: list[str]) -> Path:
    """The staging copy: the checkout's prose and configuration with the executed notebooks and their records."""
    stage = project.build / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(project.root / "book", stage / "book", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (stage / "notebooks").mkdir()
    results = stage / "book" / "results" / project.profile
    results.mkdir(parents=True, exist_ok=True)
    for file in ("_config.yml", "_toc.yml"):
        shutil.copy2(project.root / file, stage / file)
    to_download = stage / "book" / "_static" / "notebooks"
    to_download.mkdir(parents=True)
    for chapter in chapters:
        _without_solutions(project.executed / f"{chapter}.ipynb", stage / "notebooks")
        _without_solutions(project.notebook(chapter), to_download)
        shutil.copy2(project.executed / f"{chapter}.json", results)
    site.generate(stage, results.parent)
    colab = project.build / "colab"  # published as the branch that the Colab buttons open
    shutil.rmtree(colab, ignore_errors=True)
    shutil.copytree(to_download, colab / "notebooks")
    return stage


def _without_solutions(notebook: Path, folder: Path) -> None:
    """Write a notebook to a folder, with stubs in the place of the exercises' solutions."""
    nbformat.write(without_solutions(nbformat.read(notebook, as_version=4)), folder / notebook.name)


def _build_site(project: Project, stage: Path) -> Path:
    """Build the site from the stage, warnings being errors, and put it in the place of the published one."""
    html, key_file, output = project.build / "html", project.build / "html.key", project.build / "site"
    key = f"{_tree_hash(stage)} {_sha256(project.root / 'constraints.txt')}"
    if key_file.exists() and key_file.read_text() == key and (html / "index.html").exists():
        print(f"the site is unchanged: {html / 'index.html'}")
        return html / "index.html"
    print("building the site")
    shutil.rmtree(output, ignore_errors=True)
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", "--warningiserror", "--keep-going", "--path-output", str(output), str(stage)]
    built = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if built.returncode:
        plain = re.sub(r"\x1b\[[\d;]*m", "", built.stdout)
        problems = [line for line in plain.splitlines() if "WARNING" in line or "ERROR" in line]
        raise BookError("the site was not built:\n" + ("\n".join(problems) or plain[-4000:]))
    pages.finish(output / "_build" / "html")
    key_file.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)
    (output / "_build" / "html").rename(html)
    key_file.write_text(key)
    print(f"the site is ready: {html / 'index.html'}")
    return html / "index.html"


def _toc_files(node: object) -> list[str]:
    """Every `file` of a table of contents, at any depth, in order."""
    if isinstance(node, dict):
        return ([node["file"]] if "file" in node else []) + _toc_files(list(node.values()))
    return [file for child in node for file in _toc_files(child)] if isinstance(node, list) else []


def _tree_hash(folder: Path, leave_out: Set[Path] = frozenset()) -> str:
    """SHA-256 over the names and contents of the files under `folder`, without Python's own cache and locks."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if (
            path.is_file()
            and leave_out.isdisjoint([path, *path.parents])
            and "__pycache__" not in path.parts
            and path.suffix != ".lock"
        ):
            digest.update(f"{path.relative_to(folder).as_posix()} {_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, or "absent"."""
    return store.sha256(path) if path.exists() else "absent"
