"""Properties of chapter 06's exercises: whole words at both ends, rates by name, probes of layers, packed windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlib.course.specs import Property

Cases = list[tuple[Any, ...]]
PARTS = ("attention.self.query.weight", "attention.output.dense.bias", "output.LayerNorm.weight")


def _text(rng: np.random.Generator, sizes: list[int]) -> tuple[list[int], list[int]]:
    """A text whose words have these numbers of pieces: its pieces, and each one's word."""
    pieces = [int(piece) for piece in rng.permutation(5000)[: sum(sizes)]]
    return pieces, [word for word, size in enumerate(sizes) for _ in range(size)]


def _sizes(rng: np.random.Generator, count: int, largest: int = 4) -> list[int]:
    return [int(size) for size in rng.integers(1, largest + 1, size=count)]


def one_piece_each(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for count, room, head in ((9, 4, 1), (20, 12, 3), (13, 12, 6), (11, 5, 0), (11, 5, 5), (6, 1, 1), (6, 1, 0)):
        found.append((*_text(rng, [1] * count), room, head))
    return found


def torn_words(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for _ in range(8):
        text = _text(rng, _sizes(rng, int(rng.integers(8, 20))))
        for share in (0.15, 0.3, 0.5, 0.85):
            room = int(rng.integers(4, max(5, len(text[0]) - 1)))
            found.append((*text, room, round(share * room)))
    hardly_too_long = _text(rng, [3, 1, 2, 3, 3])
    found += [(*hardly_too_long, 11, head) for head in range(12)]
    long_words = _text(rng, [5, 2, 6])
    return found + [(*long_words, room, room // 2) for room in range(13)]


def short_texts(rng: np.random.Generator) -> Cases:
    found: Cases = [([], [], room, 0) for room in (0, 3)]
    for count in (1, 2, 5):
        text = _text(rng, _sizes(rng, count))
        size = len(text[0])
        found += [(*text, size + more, head) for more in (0, 1, 5) for head in (0, 1, size)]
        found += [(*text, 0, 0), (*text, size - 1, size // 2)]
    return found


def refused_cuts(rng: np.random.Generator) -> Cases:
    pieces, words = _text(rng, _sizes(rng, 6))
    room = len(pieces) - 2
    bad = [(pieces, words, room, head) for head in (-1, room + 1, -4, room + 9)]
    bad += [(pieces, words[:-1], room, 1), (pieces[:-2], words, room, 1), (pieces[:3], words[:3], 4, 5)]
    bad += [(pieces[:2], words[:3], 9, 1), ([1, 2], [0, 1], 9, -1)]
    return [*bad, (pieces, words, room, 0), (pieces, words, room, room), ([1, 2], [0, 1], 9, 9)]


def _layer(rng: np.random.Generator, number: int) -> str:
    return f"encoder.layer.{number}.{PARTS[int(rng.integers(len(PARTS)))]}"


def layers_alone(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for count in (1, 2, 6, 12, 24):
        names = [_layer(rng, number) for number in rng.permutation(count)]
        names += [f"encoder.layer.{count - 1}.intermediate.dense.weight"]
        found.append((names, count, float(rng.uniform(1e-5, 1e-3)), float(rng.uniform(0.8, 0.99))))
    return found


def all_parts(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for count in (1, 3, 12):
        names = ["embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias", "pooler.dense.weight"]
        names += ["classifier.weight", "classifier.bias", *(_layer(rng, number) for number in range(count))]
        names = [names[i] for i in rng.permutation(len(names))]
        found += [(names, count, float(rng.uniform(0.1, 5.0)), float(xi)) for xi in (rng.uniform(0.3, 0.9), 1.0)]
    return [*found, ([], 3, 1.0, 0.5), (["classifier.bias"], 2, 0.25, 0.5), (["embeddings.x"], 4, 1.0, 0.5)]


def refused_names(rng: np.random.Generator) -> Cases:
    good = ["embeddings.word", "encoder.layer.1.query", "pooler.dense", "classifier.bias"]
    odd = [
        "bert.embeddings.word", "encoder.layer.3.query", "encoder.layer.x.query", "encoder.layers.1.query", "cls.bias",
        "encoder.layer.-1.query", "encoder.norm.1.weight", "embeddingsword", "classifiers.bias", "poolers.dense", "",
        "encoder.layer.1", "encoder.1.query.bias",
        "bert.layer.1.query", "model.layer.1.query", "encoder.block.1.query",
        "classifier", "embeddings", "pooler", "encoder", "encoder.layer",
    ]  # fmt: skip
    bad = [([*good, name], 3, 1.0, 0.9) for name in odd]
    return [*bad, *((name, 3, 1.0, 0.9) for name in ([*good, good[1]], [good[3], good[3]])), (good, 3, 1.0, 0.9)]


def refused_factors(rng: np.random.Generator) -> Cases:
    names = ["embeddings.word", "encoder.layer.0.query", "classifier.bias"]
    return [(names, 2, 1e-3, xi) for xi in (0.0, -0.5, 1.01, 1.0, 0.05)] + [([], 2, 1e-3, 2.0), ([], 2, 1e-3, 0.7)]


def _probes(rng: np.random.Generator, layers: int, texts: int, width: int, classes: list[int], folds: int) -> tuple:
    """States in which some layers know more of the class than others."""
    labels = np.array(classes)[rng.permutation(texts) % len(classes)]
    marks = rng.normal(size=(max(classes) - min(classes) + 1, width))[labels - min(classes)]
    know = rng.uniform(0.2, 1.6, size=(layers, 1, 1))
    hidden = know * marks + rng.normal(size=(layers, texts, width)) + 3 * rng.normal(size=(layers, 1, width))
    folded = rng.permutation(np.arange(texts) % folds)
    return torch.tensor(hidden, dtype=torch.float32), torch.tensor(labels), torch.tensor(folded)


def two_classes(rng: np.random.Generator) -> Cases:
    shapes = ((1, 40, 4, 2), (4, 60, 6, 5), (3, 30, 3, 3))
    return [(*_probes(rng, layers, n, d, [0, 1], folds), 1.0) for layers, n, d, folds in shapes]


def several_classes(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for classes in ([0, 1, 2], [-4, 3, 9, 11], [7, 2]):
        found.append((*_probes(rng, 3, 60, 5, classes, 4), float(rng.uniform(0.1, 5.0))))
    return found


def folds_and_penalties(rng: np.random.Generator) -> Cases:
    hidden, labels, folds = _probes(rng, 3, 50, 5, [0, 1, 2], 5)
    found: Cases = [(hidden, labels, folds, penalty) for penalty in (0.01, 3.0, 300.0, 3e4)]
    uneven = torch.tensor((rng.random(50) < 0.2).astype(np.int64) * 6 - 2)
    uneven[:2] = torch.tensor([4, -2])
    missing = torch.where(labels == 2, 1, folds * 10)  # a class that one fold's training rows lack
    wide, few, split = _probes(rng, 2, 12, 20, [0, 1], 3)  # more columns than rows
    return [*found, (hidden, labels, uneven, 1.0), (hidden, labels, missing, 2.0), (wide, few, split, 0.5)]


def refused_probes(rng: np.random.Generator) -> Cases:
    hidden, labels, folds = _probes(rng, 2, 24, 3, [0, 1], 3)
    bad: Cases = [(hidden, labels, folds, penalty) for penalty in (0.0, -1.0)]
    return [*bad, (hidden, labels, torch.full_like(folds, 2), 1.0), (hidden, labels, folds, 0.5)]


def _windows(rng: np.random.Generator, text: list[int], num_texts: int, d: int = 4, scale: float = 1.0) -> tuple:
    vectors = torch.tensor(scale * rng.normal(size=(len(text), d)), dtype=torch.float32)
    query = torch.tensor(rng.normal(size=d), dtype=torch.float32)
    return vectors, torch.tensor(text, dtype=torch.int64), query, num_texts


def one_text(rng: np.random.Generator) -> Cases:
    return [_windows(rng, [0] * count, 1, d) for count, d in ((1, 3), (4, 4), (7, 2), (3, 3))]


def texts_in_any_order(rng: np.random.Generator) -> Cases:
    mixed = [*rng.integers(0, 4, size=15).tolist(), 0, 1, 2, 3]
    return [_windows(rng, mixed, 4), _windows(rng, [2, 0, 1, 0, 2], 3, d=3), _windows(rng, [1, 0], 2, d=2)]


def without_windows(rng: np.random.Generator) -> Cases:
    return [_windows(rng, [1, 1, 4], 6), _windows(rng, [], 3), _windows(rng, [0], 2), _windows(rng, [2, 0, 2], 4)]


def large_scores(rng: np.random.Generator) -> Cases:
    found: Cases = [_windows(rng, [0, 1, 1, 0, 2], 3, scale=scale) for scale in (60.0, 3000.0)]
    vectors, text, query, num_texts = _windows(rng, [0, 0, 1, 1], 2)
    apart = torch.tensor([500.0, 500.0, -500.0, -500.0]).unsqueeze(1)  # each text has its own largest score
    found.append((vectors + apart * query / query.square().sum(), text, query, num_texts))
    return found


def refused_texts(rng: np.random.Generator) -> Cases:
    bad = [_windows(rng, text, 3) for text in ([0, 3, 1], [-1, 0, 1], [7], [-2, -2], [0, 0, 5])]
    return [*bad, _windows(rng, [0, 2, 1], 3), _windows(rng, [2, 2], 3)]


PROPERTIES = {
    "whole-words": [
        Property("words of one piece each", 1, one_piece_each),
        Property("words that a cut would tear", 1, torn_words),
        Property("texts that fit, and rooms for next to nothing", 1, short_texts),
        Property("heads and lengths that are refused", 1, refused_cuts),
    ],
    "layer-rates": [
        Property("layers, in any order", 1, layers_alone),
        Property("embeddings, pooler and classifier as well", 1, all_parts),
        Property("names that are refused", 1, refused_names),
        Property("factors that are refused", 1, refused_factors),
    ],
    "layer-accuracies": [
        Property("two classes", 1, two_classes),
        Property("several classes, of any numbers", 1, several_classes),
        Property("uneven folds, small and large penalties", 2, folds_and_penalties),
        Property("penalties and folds that are refused", 1, refused_probes),
    ],
    "attend-windows": [
        Property("one text, gradients included", 1, one_text, gradient=True),
        Property("texts in any order, gradients included", 1, texts_in_any_order, gradient=True),
        Property(
            "texts without windows, and very large scores", 2, lambda rng: without_windows(rng) + large_scores(rng)
        ),
        Property("texts that there are not, which are refused", 1, refused_texts),
    ],
}
