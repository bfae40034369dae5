"""Clean text and stable splits: what every reader shares."""

import hashlib
import html
import re
import unicodedata
from collections.abc import Hashable, Iterable

# Typography that differs between sources but not in meaning, and letters of Windows-1252 that lost their high bit on
# the way.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’´\x12", "'"),
        **dict.fromkeys("“”«»\x13\x14", '"'),
        **dict.fromkeys("…\x85\x05", "..."),
        **dict.fromkeys("\u2011\x16", "-"),
        **dict.fromkeys("\xad\u200b\ufeff", None),
        **dict.fromkeys("\xa0\t", " "),
    }
)
_QUOTES = {"'", '"'}


def clean(text: str) -> str:
    """Readable plain text: entities resolved, straight quotes, composed letters, no control characters, single spaces.

    Line ends stay (several become one), since they mark paragraphs.
    """
    text = html.unescape(html.unescape(text))  # some sources escape twice ("&amp;amp;")
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").translate(_PLAIN)
    text = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", text)
    return re.sub(r" *\n[ \n]*", "\n", re.sub(r" +", " ", text)).strip()


def strip_tags(markup: str) -> str:
    """Text of an HTML fragment: paragraphs and line breaks become line ends, every other tag vanishes."""
    markup = re.sub(r"(?i)<\s*(?:br|/?p)\b[^>]*>", "\n", markup)
    return clean(re.sub(r"</?[A-Za-z][^<>]*>", "", markup))


def decode(content: bytes) -> str:
    """UTF-8 with or without a byte-order mark, or Windows-1252 for the stray file that is not."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def detokenise(tokens: list[str]) -> str:
    """Readable text from the tokens of one sentence: punctuation, quotes and brackets closed up.

    A straight quote opens, then closes, in turn; the first of a sentence opens and the last closes.
    """
    text, glue, quoted, last = "", True, False, len(tokens) - 1
    for place, token in enumerate(tokens):
        turns = token in _QUOTES
        opens = token in {"``", "(", "["} or (turns and not quoted and (place < last or place == 0))
        closes = token in {"''", ")", "]", *",.;:?!"} or (turns and not opens)
        joins = token in {"-", "/"}
        quoted = opens if turns else quoted
        shown = token.replace("``", '"').replace("''", '"')
        text += shown if glue or closes or joins else f" {shown}"
        glue = opens or joins
    return text


def words(text: str) -> list[str]:
    """Lower-case word tokens, without punctuation: the unit of duplicate and overlap checks."""
    return re.findall(r"\w+", text.lower())


def split_of(key: str, test: float, dev: float) -> str:
    """Split of `key` by its hash: the same on every machine, for every order of the data, and for equal keys."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "test" if place < test else "dev" if place < test + dev else "train"


def groups(items: Iterable[Iterable[Hashable]]) -> list[int]:
    """Group of each item: those that share a feature, directly or through others, are one, named by its first item."""
    parent: list[int] = []
    owner: dict[Hashable, int] = {}

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for index, features in enumerate(items):
        parent.append(index)
        for feature in features:
            here, other = find(index), find(owner.setdefault(feature, index))
            parent[max(here, other)] = min(here, other)
    return [find(index) for index in range(len(parent))]
