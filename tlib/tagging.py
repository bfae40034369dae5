"""Part-of-speech tagging on the Brown corpus: its tags made simple, its texts split, and a tagger without a network."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tlib import data

Sentence = tuple[list[str], list[str]]  # words, tags
SHAPES = ("lower", "Capital", "First", "ALL", "digit", "other")


def simple_tag(tag: str) -> str:
    """A Brown tag without its marks: "nn-tl" and "fw-nn" are "nn", "ppss+bem" is "ppss", "dod*" is "dod"."""
    plain = tag.lower().removeprefix("fw-")
    for mark in ("-hl", "-tl", "-nc") * 2:
        plain = plain.removesuffix(mark)
    plain = plain.split("+")[0]
    return plain.rstrip("*") or plain


def tagged_sentences(text: Mapping[str, Any]) -> Iterator[Sentence]:
    """The sentences of 5 to 40 words of one row of `tlib.data.load("brown")`; doubled punctuation stands once."""
    for words, tags in zip(text["words"], text["tags"], strict=True):
        words = [{"``": '"', "''": '"'}.get(word, word) for word in words]
        kept = [i for i in range(len(words)) if i == 0 or words[i] != words[i - 1] or words[i] not in ";?!"]
        if 5 <= len(kept) <= 40:
            yield [words[i] for i in kept], [simple_tag(tags[i]) for i in kept]


def sample_sentences(text: Mapping[str, Any], count: int) -> list[Sentence]:
    """Up to `count` random sentences of a text, always the same ones."""
    sentences = list(tagged_sentences(text))
    return random.Random(text["doc_id"]).sample(sentences, min(count, len(sentences)))


def split_texts() -> dict[str, list[Mapping[str, Any]]]:
    """Brown's texts as train, dev and test (30%, a tenth dev), by a hash of the text's name."""
    texts: dict[str, list[Mapping[str, Any]]] = {"train": [], "dev": [], "test": []}
    for text in data.load("brown")["train"]:
        texts[data.text.split_of(text["doc_id"], test=0.3, dev=0.1)].append(text)
    return texts


def shape_of(word: str, first: bool) -> str:
    """Which of SHAPES a word has; a capital at the start of a sentence says less than one within it."""
    if any(letter.isdigit() for letter in word):
        return "digit"
    if not any(letter.isalpha() for letter in word):
        return "other"
    if word[0].isupper():
        return "First" if first else "ALL" if len(word) > 1 and word.isupper() else "Capital"
    return "lower"


def clues(words: Sequence[str]) -> list[set[str]]:
    """What a linear tagger sees of each word: its letters and shape, and its neighbours."""
    padded = ["<S>", *(word.lower() for word in words), "</S>"]
    return [
        {f"word {padded[k]}", f"before {padded[k - 1]}", f"after {padded[k + 1]}", shape_of(word, k == 1)}
        | {f"ends {padded[k][-n:]}" for n in (1, 2, 3)}
        | {f"before ends {padded[k - 1][-2:]}", f"after ends {padded[k + 1][-2:]}"}
        for k, word in enumerate(words, start=1)
    ]


def linear_tagger(train: Sequence[Sentence], test: Sequence[Sentence], seed: int) -> np.ndarray:
    """1.0 where logistic regression on `clues` names a test word's tag, else 0.0: [words of all test sentences]."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    hasher = FeatureHasher(2**16, input_type="string", alternate_sign=False)
    features = hasher.transform(clue for words, _ in train for clue in clues(words))
    model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=6, tol=None, random_state=seed)
    model.fit(features, [tag for _, tags in train for tag in tags])
    predicted = model.predict(hasher.transform(clue for words, _ in test for clue in clues(words)))
    return np.array(predicted == [tag for _, tags in test for tag in tags], dtype=float)
