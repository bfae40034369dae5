"""Readers of the reference works that Debian ships: dictionaries and one long FAQ, all of it plain English prose."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from tlib.data.archives import member, members
from tlib.data.text import clean, decode, strip_tags

Rows = list[dict]
MIN_WORDS = 8  # shorter entries are cross-references and headings


def wordnet(path: Path) -> dict[str, Rows]:
    """One synset per row: its words, then the gloss with its examples, such as `dwarf: a plant or animal that ...`."""
    rows = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in decode(member(path, f"usr/share/wordnet/data.{part}")).splitlines():
            if line.startswith("  "):  # the licence
                continue
            fields, gloss = line.split(" | ", 1)
            fields = fields.split()
            count = int(fields[3], 16)
            words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
            rows.append({"text": clean(f"{', '.join(words)}: {gloss}"), "part_of_speech": part})
    return {"train": rows}


def foldoc(path: Path) -> dict[str, Rows]:
    """One entry of the Free On-line Dictionary of Computing per row, without links and dates."""
    content = gzip.decompress(member(path, "usr/share/dictd/foldoc.dict.dz")).decode("utf-8", errors="replace")
    rows = []
    for entry in _entries(content):
        entry = re.sub(r"\((?:ftp|https?):[^)]*\)|\(\d{4}-\d\d-\d\d\)|[{}]", "", entry)
        text = clean(re.sub(r"\s+", " ", re.sub(r"<([a-z ,/-]+)>", r"(\1)", entry)))
        if len(text.split()) >= MIN_WORDS:
            rows.append({"text": text})
    return {"train": rows}


def _entries(content: str) -> Iterator[str]:
    """Entries of a dictd file: a headword at the margin after a blank line, its definition indented below."""
    entry: list[str] = []
    for line in content.splitlines():
        if line and not line.startswith(" ") and entry and not entry[-1]:
            yield " ".join(entry)
            entry = []
        entry.append(line.strip())
    yield " ".join(entry)


def anarchist_faq(path: Path) -> dict[str, Rows]:
    """One section of An Anarchist FAQ per row, one paragraph a line."""
    rows = []
    for name, content in members(path, "usr/share/doc/anarchism/html/*.html"):
        markup = re.sub(r"(?is)<(script|style|head)\b.*?</\1>", " ", decode(content))
        markup = re.sub(r"\s+", " ", markup)
        blocks = re.split(r"(?i)</?(?:p|h\d|li|blockquote|div|br)\b[^>]*>", markup)
        paragraphs = [re.sub(r"\s+", " ", strip_tags(block)) for block in blocks]
        kept = [paragraph for paragraph in paragraphs if len(paragraph.split()) >= MIN_WORDS]
        if kept:
            rows.append({"text": "\n".join(kept), "section": Path(name).stem})
    return {"train": rows}
