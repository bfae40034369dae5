"""Classical baselines that stand beside the networks of several chapters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def tfidf_logistic(
    train: tuple[Sequence[str], Sequence[int]],
    dev: tuple[Sequence[str], Sequence[int]],
    test_texts: Sequence[str],
    *,
    penalties: Sequence[float] = (1, 10, 100),
) -> np.ndarray:
    """TF-IDF over words with logistic regression, its penalty chosen on the development texts.

    Args:
        train, dev: texts and their labels.
        test_texts: the texts to label.
        penalties: values of scikit-learn's C to choose from; the first of equals wins.

    Returns:
        The predicted label of each test text, integer array [text].

    Raises:
        ValueError: texts and labels are not equally many, or the training labels are all the same.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    for name, (texts, labels) in {"train": train, "dev": dev}.items():
        if len(texts) != len(labels):
            raise ValueError(f"{name} has {len(texts)} texts but {len(labels)} labels.")
    if len(set(train[1])) < 2:
        raise ValueError(f"All {len(train[1])} training labels are {train[1][0]}: a classifier needs two classes.")
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    train_x = vectorizer.fit_transform(train[0])
    dev_x, test_x = vectorizer.transform(dev[0]), vectorizer.transform(test_texts)
    fitted = [LogisticRegression(C=penalty, max_iter=1000).fit(train_x, train[1]) for penalty in penalties]
    return max(fitted, key=lambda model: model.score(dev_x, dev[1])).predict(test_x)
