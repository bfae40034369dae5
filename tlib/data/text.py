"""Clean text and stable splits: what every reader shares."""

import hashlib
import html
import re
import unicodedata
from collections.abc import Hashable, Iterable

# Typography that differs between sources but not in meaning, and remains of other encodings.
_PLAIN = str.maketrans(
    {
        "‘": "'", "’": "'", "´": "'", "“": '"', "”": '"', "«": '"', "»": '"', "…": "...", "\x85": "...",
        "‑": "-", "\xad": None, "\u200b": None, "\ufeff": None, "\xa0": " ", "\r": "\n", "\t": " ",
    }
)  # fmt: skip


def clean(text: str) -> str:
    """Readable plain text: entities resolved, straight quotes, composed letters, no control characters, single spaces.

    Line ends stay (several become one), since they mark paragraphs.
    """
    text = html.unescape(html.unescape(text))  # some sources escape twice ("&amp;amp;")
    text = unicodedata.normalize("NFC", text).translate(_PLAIN)
    text = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", text)
    return re.sub(r" *\n[ \n]*", "\n", re.sub(r" +", " ", text)).strip()


def strip_tags(markup: str) -> str:
    """Text of an HTML fragment: paragraphs and line breaks become line ends, every other tag vanishes."""
    markup = re.sub(r"(?i)<\s*(?:br|/?p)\b[^>]*>", "\n", markup)
    return clean(re.sub(r"</?[A-Za-z][^<>]*>", "", markup))


def decode(content: bytes) -> str:
    """UTF-8, or Windows-1252 for the stray file that is not."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def words(text: str) -> list[str]:
    """Lower-case word tokens, without punctuation: the unit of duplicate and overlap checks."""
    return re.findall(r"\w+", text.lower())


def split_of(key: str, test: float, dev: float) -> str:
    """Split of `key` by its hash: the same on every machine, for every order of the data, and for equal keys."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "test" if place < test else "dev" if place < test + dev else "train"


def groups(items: Iterable[Iterable[Hashable]]) -> list[int]:
    """Group number of each item, where items that share a feature, directly or through others, share a group.

    The number is the position of the group's first item.
    """
    parent: list[int] = []
    owner: dict[Hashable, int] = {}

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for index, features in enumerate(items):
        parent.append(index)
        for feature in features:
            other = find(owner.setdefault(feature, index))
            here = find(index)
            parent[max(here, other)] = min(here, other)
    return [find(index) for index in range(len(parent))]
