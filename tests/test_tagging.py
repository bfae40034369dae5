"""Part-of-speech tagging on Brown: tags without their marks, sentences, shapes, and the tagger without a network."""

import numpy as np
import pytest

from tlib import tagging


@pytest.mark.parametrize(
    ("tag", "simple"),
    [
        ("NN", "nn"),
        ("nn-tl", "nn"),
        ("fw-nn", "nn"),
        ("nn-tl-hl", "nn"),
        ("ppss+bem", "ppss"),
        ("dod*", "dod"),
        ("*", "*"),
        ("fw-in+at-tl", "in"),
        ("--", "--"),
        ("bez*-nc", "bez"),
    ],
)
def test_a_tag_loses_its_marks_and_nothing_else(tag, simple):
    assert tagging.simple_tag(tag) == simple


def _text(*sentences):
    words = [sentence.split() for sentence in sentences]
    return {"doc_id": "ca01", "words": words, "tags": [["nn-hl"] * len(row) for row in words]}


def test_sentences_of_5_to_40_words_with_plain_quotation_marks_and_single_stops():
    short, long = "too short a one", " ".join(["word"] * 41)
    text = _text("`` Is it so ? ? '' he asked", short, long, "the the cat sat down ; ; twice")
    assert list(tagging.tagged_sentences(text)) == [
        (['"', "Is", "it", "so", "?", '"', "he", "asked"], ["nn"] * 8),
        (["the", "the", "cat", "sat", "down", ";", "twice"], ["nn"] * 7),
    ]


def test_a_sample_is_the_same_each_time_and_no_larger_than_asked_for():
    text = _text(*(f"sentence number {i} is this one" for i in range(9)))
    assert tagging.sample_sentences(text, 4) == tagging.sample_sentences(text, 4)
    assert len(tagging.sample_sentences(text, 4)) == 4
    assert len(tagging.sample_sentences(text, 99)) == 9


@pytest.mark.parametrize(
    ("word", "first", "shape"),
    [
        ("cat", True, "lower"),
        ("Cat", True, "First"),
        ("Cat", False, "Capital"),
        ("NATO", False, "ALL"),
        ("A", False, "Capital"),
        ("1961", False, "digit"),
        ("mid-1961", True, "digit"),
        ("--", False, "other"),
    ],
)
def test_shapes(word, first, shape):
    assert tagging.shape_of(word, first) == shape
    assert shape in tagging.SHAPES


def test_the_linear_tagger_learns_from_endings_and_neighbours():
    train = [
        (["the", "dog", "runs", "to", "town"], ["at", "nn", "vbz", "in", "nn"]),
        (["a", "cat", "sees", "the", "house"], ["at", "nn", "vbz", "at", "nn"]),
    ] * 4
    test = [(["the", "cat", "runs", "to", "house"], ["at", "nn", "vbz", "in", "nn"]), (["the"], ["nn"])]
    right = tagging.linear_tagger(train, test, seed=0)
    assert right.dtype == float
    np.testing.assert_array_equal(right, [1, 1, 1, 1, 1, 0])


def test_the_texts_of_brown_are_split_whole():
    texts = tagging.split_texts()
    assert {split: len(rows) for split, rows in texts.items()} == {"train": 288, "dev": 58, "test": 154}
    names = [text["doc_id"] for rows in texts.values() for text in rows]
    assert len(set(names)) == 500
