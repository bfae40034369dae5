"""The classical baselines."""

import numpy as np
import pytest

from tlib.baselines import tfidf_logistic

TRAIN = (["good film", "good fun", "bad film", "bad mess"], [1, 1, 0, 0])


def test_the_words_decide():
    assert tfidf_logistic(TRAIN, TRAIN, ["a good day", "a bad day", "good good"]).tolist() == [1, 0, 1]


def test_the_penalty_is_chosen_on_the_development_texts():
    train = (["red blue"] * 9 + ["red"], [0] * 9 + [1])
    dev = (["red"] * 3, [1] * 3)
    strict, loose = (tfidf_logistic(train, dev, ["red"], penalties=[c])[0] for c in (0.01, 1e4))
    assert (strict, loose) == (0, 1)
    assert tfidf_logistic(train, dev, ["red"], penalties=(0.01, 1e4)).tolist() == [1]


def test_labels_must_match_the_texts_and_differ():
    with pytest.raises(ValueError, match="dev has 4 texts but 1 labels"):
        tfidf_logistic(TRAIN, (TRAIN[0], [1]), ["x"])
    with pytest.raises(ValueError, match="All 4 training labels are 1"):
        tfidf_logistic((TRAIN[0], np.ones(4, int)), TRAIN, ["x"])
