"""What students handed in: notebooks found in files, folders and ZIP exports of learning platforms, never unpacked.

Whatever is wrong with a submission becomes a `problem`, a sentence for its row in the marks. Nothing is written and no
link is followed.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from tlib.course import CourseError

MOST_BYTES = 5_000_000  # of a notebook
MOST_FILES = 20_000  # of an export
MOST_CELLS = 500
MOST_CODE = 200_000  # characters: Python's parser takes more than its share of time for long lines
MOST_OWN, MOST_UNPACKED = 100, 4 * MOST_BYTES  # notebooks and bytes of a ZIP in an export: it is one student's
TIGHTEST = 50  # times smaller than its notebooks may an export be
NESTED = 2  # a ZIP may hold ZIPs of students, and no further
IGNORED = {"__MACOSX", ".ipynb_checkpoints"}  # what macOS and Jupyter add
RUN_AND_MORE = re.compile(r"\s*%%(time|capture|prun)\b.*")  # cell magics under which the rest is run as Python
MAGIC = re.compile(r"(\s*)([%!?]|get_ipython\(|[\w.]+\?\??\s*$)")


@dataclass(frozen=True)
class Submission:
    """One file of one student. `cells` holds its code, or `problem` says why there is none to run."""

    student: str
    file: str
    content: bytes = b""
    handed_in: datetime | None = None
    late: bool = False
    problem: str = ""
    cells: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()


def collect(paths: list[Path], assignment: str, locked: set[str], due: datetime | None = None) -> list[Submission]:
    """Every submission among files, folders and ZIP files, sorted by student; of a student's files, the last first.

    Args:
        paths: .ipynb files, folders, or ZIP files.
        assignment: the chapter that was set; a notebook of another one is refused.
        locked: grade_ids of the cells that are ours, such as visible checks: they are not run.
        due: the time after which a submission is late (compared with the file's own time).

    Raises:
        CourseError: a path does not exist, or an export has more than MOST_FILES files.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise CourseError(f"{path} does not exist: name notebooks, folders or ZIP files with submissions")
        for submission in _of_path(path, assignment):
            found.append(submission)
            if len(found) > MOST_FILES:
                raise CourseError(f"{path} has more than {MOST_FILES:,} files: is it the right one?")
    read = [_read(submission, assignment, locked, due) for submission in found]
    read.sort(key=lambda one: one.file)
    read.sort(key=lambda one: one.handed_in or datetime.min, reverse=True)
    return sorted(read, key=lambda one: one.student)


def _of_path(path: Path, assignment: str) -> Iterator[Submission]:
    """The notebooks of a file, folder or ZIP, unread.

    A file that has the assignment's own name and no folder says nothing of its student: the ZIP or the folder in which
    it lies does.
    """
    files = [(path, path.name)]
    if path.is_dir():
        files = [(file, file.relative_to(path).as_posix()) for file in sorted(path.rglob("*"))]
    for file, name in files:
        container = file.stem if file.suffix.lower() == ".zip" else file.absolute().parent.name
        for submission in _of_file(file, name, found=path.is_dir()):
            nameless = submission.student.startswith(assignment)
            yield replace(submission, student=student_of(f"{container}/-")) if nameless else submission


def _of_file(path: Path, name: str, found: bool) -> Iterator[Submission]:
    """The notebooks of one path; what was `found` in a folder counts only if its name says that it is a submission."""
    status = path.lstat()
    time = datetime.fromtimestamp(status.st_mtime)
    if found and path.is_symlink():
        yield Submission(student_of(name), name, problem="a link, not a file")
    elif found and (_ignored(name) or not path.is_file() or path.suffix.lower() not in (".ipynb", ".zip")):
        return
    elif not stat.S_ISREG(status.st_mode):
        yield Submission(student_of(name), name, problem="not a regular file")
    elif path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                budget = MOST_UNPACKED + TIGHTEST * status.st_size
                yield from _of_zip(archive, "" if "/" not in name else str(PurePosixPath(name).parent), 1, budget)
        except Exception as error:  # the bytes come from a student: zipfile, zlib and lzma raise errors of many kinds
            yield Submission(student_of(name), name, problem=f"a damaged ZIP file ({type(error).__name__})")
    elif status.st_size > MOST_BYTES:
        yield Submission(student_of(name), name, handed_in=time, problem=_too_large(status.st_size))
    else:
        yield Submission(student_of(name), name, path.read_bytes(), time)


def _of_zip(
    archive: zipfile.ZipFile, prefix: str, depth: int, budget: int, handed_in: datetime | None = None
) -> Iterator[Submission]:
    """The notebooks of a ZIP, read in memory: a name in it is a label, and never a path to write to.

    Files that do not fit into `budget` bytes, unpacked, are not read: a ZIP of 20 MB may hold 20 GB. No file of
    a ZIP in an export is older than that ZIP, which was `handed_in` then, whatever its maker wrote into it.
    """
    taken = 0
    for entry in archive.infolist()[: MOST_FILES + 1]:
        name = f"{prefix}/{entry.filename}" if prefix else entry.filename
        suffix = PurePosixPath(entry.filename).suffix.lower()
        if entry.is_dir() or _ignored(entry.filename) or suffix not in (".ipynb", ".zip"):
            continue
        if (taken := taken + 1) > MOST_OWN and depth == NESTED:
            yield Submission(student_of(name), name, handed_in=handed_in, problem=f"a ZIP of over {MOST_OWN} notebooks")
            return
        time, most = (
            max(filter(None, (handed_in, _time_of(entry))), default=None),
            MOST_BYTES * (1 if suffix == ".ipynb" else 4),
        )
        if stat.S_ISLNK(entry.external_attr >> 16):
            yield Submission(student_of(name), name, handed_in=time, problem="a link, not a file")
        elif entry.file_size > most:
            yield Submission(student_of(name), name, handed_in=time, problem=_too_large(entry.file_size))
        elif entry.file_size > budget:
            yield Submission(student_of(name), name, handed_in=time, problem="in a ZIP that unpacks to too much")
        else:
            budget -= entry.file_size
            yield from _of_entry(archive, entry, name, time, most, depth)


def _ignored(name: str) -> bool:
    path = PurePosixPath(name)
    return not IGNORED.isdisjoint(path.parts) or path.name.startswith("._")


def _time_of(entry: zipfile.ZipInfo) -> datetime | None:
    """When a file of a ZIP was written, if its date is one: some programs leave month and day at 0."""
    try:
        return datetime(*entry.date_time)
    except ValueError:
        return None


def _of_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, time: datetime | None, most: int, depth: int
) -> Iterator[Submission]:
    try:
        with archive.open(entry) as file:
            content = file.read(most + 1)
    except Exception as error:  # as above
        yield Submission(student_of(name), name, handed_in=time, problem=f"cannot be read ({type(error).__name__})")
        return
    if len(content) > most:
        yield Submission(student_of(name), name, handed_in=time, problem=_too_large(len(content)))
    elif name.lower().endswith(".zip") and depth < NESTED:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as inner:
                yield from _of_zip(inner, name.removesuffix(".zip"), depth + 1, MOST_UNPACKED, time)
        except Exception:  # as above
            yield Submission(student_of(name), name, handed_in=time, problem="a damaged ZIP file")
    elif name.lower().endswith(".zip"):
        yield Submission(student_of(name), name, handed_in=time, problem="a ZIP in a ZIP in a ZIP")
    else:
        yield Submission(student_of(name), name, content, time)


def student_of(name: str) -> str:
    """The student whose file it is, by the ways in which platforms name files; control characters are dropped.

    >>> student_of("Ada Lovelace_12345_assignsubmission_file_/03_ulmfit.ipynb")  # Moodle
    'Ada Lovelace_12345'
    >>> student_of("lovelaceada_LATE_1234_56789_03_ulmfit-1.ipynb")  # Canvas
    'lovelaceada_1234'
    >>> student_of("ada/03_ulmfit/03_ulmfit.ipynb"), student_of("ada.ipynb")  # nbgrader; single files
    ('ada', 'ada')
    """
    clean = printable(name.replace("\\", "/"))
    parts = [part for part in clean.split("/") if part not in ("", ".", "..")] or ["unnamed"]
    first = parts[1] if parts[0] in ("submitted", "submissions") and len(parts) > 2 else parts[0]
    if len(parts) > 1 and (moodle := re.fullmatch(r"(.+_\d+)_assignsubmission_(?:file|onlinetext)_?", first)):
        return moodle[1]
    if canvas := re.fullmatch(r"([^_]+)_(?:LATE_)?(\d+)_\d+_.+", first):
        return f"{canvas[1]}_{canvas[2]}"
    return first if len(parts) > 1 else PurePosixPath(first).stem


def printable(name: str) -> str:
    """A name in one spelling of its accents (macOS has another one than the rest), without control characters."""
    return "".join(letter for letter in unicodedata.normalize("NFC", name) if letter.isprintable())


def _too_large(size: int) -> str:
    return f"too large ({size:,} bytes, at most {MOST_BYTES:,}): outputs can be cleared before handing in"


def _read(submission: Submission, assignment: str, locked: set[str], due: datetime | None) -> Submission:
    """The submission with its cells, or with the problem that keeps it from being run."""
    submission = replace(submission, file=printable(submission.file))
    named_late = re.match(r"[^_/]+_LATE_\d", submission.file) is not None
    late = named_late or bool(due and submission.handed_in and submission.handed_in > due)
    if submission.problem:
        return replace(submission, late=late)
    try:
        notebook = json.loads(submission.content)
        cells, meant = _code(notebook, locked), _assignment_of(notebook)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, MemoryError) as error:
        return replace(submission, late=late, problem=f"not a notebook ({type(error).__name__})")
    if meant not in (assignment, None):
        return replace(submission, late=late, problem=f"a notebook of another assignment ({meant[:60]!r})")
    if len(cells) > MOST_CELLS:
        return replace(submission, late=late, problem=f"{len(cells):,} code cells, at most {MOST_CELLS}")
    if (characters := sum(map(len, cells))) > MOST_CODE:
        return replace(submission, late=late, problem=f"{characters:,} characters of code, at most {MOST_CODE:,}")
    cells = map(plain, cells)
    return replace(submission, late=late, cells=tuple(cells))


def _assignment_of(notebook: dict[str, Any]) -> str | None:
    own = notebook.get("metadata", {}).get("tlib", {})
    return str(own["assignment"]) if isinstance(own, dict) and "assignment" in own else None


def _code(notebook: dict[str, Any], locked: set[str]) -> list[str]:
    """Sources of the code cells; locked ones are empty, so that numbers stay right."""
    sources = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        if cell.get("metadata", {}).get("nbgrader", {}).get("grade_id") in locked:
            sources.append("")
            continue
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        sources.append(source)
    return sources


def plain(source: str) -> str:
    """A cell's source as Python: lines of magic (%, ! and ?) become `pass`, where the cell is no Python with them.

    A cell under a cell magic is run if IPython would run it in the notebook itself (as %%time does), else it is empty.
    """
    try:
        ast.parse(source)
        return source
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        if source.lstrip().startswith("%%") and not RUN_AND_MORE.match(source):
            return ""
        lines = source.splitlines()
        return "\n".join(f"{found[1]}pass" if (found := MAGIC.match(line)) else line for line in lines)
