"""Properties of chapter 03's exercises: rates of layers, pooling by chunks, the worth of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlib.course.specs import Property

Cases = list[tuple[Any, ...]]


def _rate(rng: np.random.Generator, share: tuple[float, float], depth: int = 0, **fixed: Any) -> tuple[Any, ...]:
    """Arguments of layer_rate with the update at a random share of the total."""
    total = fixed.get("total", int(rng.integers(60, 400)))
    cut_frac, ratio, factor = float(rng.uniform(0.1, 0.4)), float(rng.uniform(8, 64)), float(rng.uniform(1.5, 4))
    cut = max(1, int(total * cut_frac))
    low, high = (int(cut * share[0]), int(cut * share[1])) if share[1] <= 1 else (cut, total - 1)
    return int(rng.integers(low, high + 1)), total, depth, float(rng.uniform(1e-3, 1e-1)), cut_frac, ratio, factor


def rising(rng: np.random.Generator) -> Cases:
    first = (0, *_rate(rng, (0, 0.5))[1:])
    by_default = (int(rng.integers(3, 15)), 200, 0, float(rng.uniform(1e-3, 1e-1)))
    return [first, by_default, *(_rate(rng, (0, 0.95)) for _ in range(5))]


def falling(rng: np.random.Generator) -> Cases:
    total, cut_frac, *rest = _rate(rng, (1, 2))[1], 0.2, 0.01
    at_cut = (int(total * cut_frac), total, 0, rest[0], cut_frac)
    last = (total - 1, *_rate(rng, (1, 2), total=total)[1:])
    short = (1, 4, 0, 0.01, 0.1, 32.0, 2.6)  # int(0.4) is no update, so the cut is after the first
    return [at_cut, last, short, *(_rate(rng, (1, 2)) for _ in range(4))]


def layers_and_refusals(rng: np.random.Generator) -> Cases:
    total = int(rng.integers(20, 90))
    lower = [*(_rate(rng, (0, 1), depth=depth) for depth in (1, 2, 4)), (total // 2, total, 3, 0.01)]
    return [*lower, (total, total, 0, 0.01), (-1, total, 0, 0.01), (total + 7, total, 1, 0.01)]


def _chunks(rng: np.random.Generator, lengths: list[int], widths: list[int], units: int, low: float = 0.0) -> Any:
    """Chunks of texts with these lengths; what lies under the padding is large."""
    hidden = torch.tensor(rng.normal(size=(len(lengths), sum(widths), units)) - low, dtype=torch.float32)
    mask = torch.arange(sum(widths))[None] < torch.tensor(lengths)[:, None]
    hidden = torch.where(mask[..., None], hidden, 50.0 * (1 + hidden.abs()))
    return list(zip(hidden.split(widths, dim=1), mask.split(widths, dim=1), strict=True))


def full_texts(rng: np.random.Generator) -> Cases:
    widths = [[4, 4, 4], [7], [1, 3, 5, 1]]
    cases: Cases = [(_chunks(rng, [sum(w)] * 3, w, 4),) for w in widths]
    [(hidden, mask)] = _chunks(rng, [5, 5], [5], 3)
    hidden[0] = 0.0  # a text whose states are all 0 is not an empty one
    return [*cases, ([(hidden, mask)],)]


def short_texts(rng: np.random.Generator) -> Cases:
    cases = []
    for widths in ([4, 4, 4], [5, 3, 2, 4], [6, 2]):
        lengths = [1, widths[0], widths[0] + 1, sum(widths), int(rng.integers(2, sum(widths)))]
        cases.append((_chunks(rng, lengths, widths, 3, low=3.0),))  # all states below zero: so is each maximum
    return cases


def pool_gradients(rng: np.random.Generator) -> Cases:
    return [(_chunks(rng, [2, 9, 5], [4, 5], 3),)]


def empty_texts(rng: np.random.Generator) -> Cases:
    return [(_chunks(rng, [3, 0, 6], [4, 2], 3),), (_chunks(rng, [0], [4], 2),), *full_texts(rng)[:1]]


def _curve(rng: np.random.Generator, points: int) -> tuple[list[int], list[float]]:
    labels = np.cumsum(rng.integers(20, 300, size=points)).tolist()
    return labels, np.sort(rng.uniform(0.3, 0.9, size=points)).tolist()


def between(rng: np.random.Generator) -> Cases:
    cases: Cases = []
    for points in (2, 3, 5, 6):
        labels, accuracy = _curve(rng, points)
        i = int(rng.integers(0, points - 1))
        reached = accuracy[i] + float(rng.uniform(0.2, 0.8)) * (accuracy[i + 1] - accuracy[i])
        cases.append((labels, accuracy, reached))
    labels, accuracy = _curve(rng, 4)
    return [*cases, (labels, accuracy, accuracy[2])]


def dips(rng: np.random.Generator) -> Cases:
    cases: Cases = []
    for _ in range(4):
        labels, (a, b, c, d) = _curve(rng, 4)
        cases += [(labels, [b, a, c, d], (b + c) / 2), (labels, [a, c, b, d], (c + d) / 2)]
        cases.append((labels, [a, d, b, c], (a + d) / 2))
    labels, (a, b, c, d) = _curve(rng, 4)
    return [*cases, (labels, [a, d, c, b], (b + d) / 2), (labels, [a, c, b, d], c)]  # c is first reached before the dip


def ends(rng: np.random.Generator) -> Cases:
    labels, accuracy = _curve(rng, 4)
    return [
        (labels, accuracy, accuracy[-1] + 0.01),
        (labels, accuracy[::-1], accuracy[-1] + 0.01),
        (labels, accuracy, accuracy[0] - 0.05),
        (labels, accuracy, accuracy[0]),
        (labels, accuracy, accuracy[-1]),
        (labels[:1], accuracy[:1], accuracy[0]),
        (labels[:1], accuracy[:1], accuracy[0] + 0.1),
    ]


def bad_curves(rng: np.random.Generator) -> Cases:
    labels, accuracy = _curve(rng, 4)
    return [
        (labels, accuracy[:-1], 0.5),
        (labels[:-1], accuracy, 0.2),
        (labels[::-1], accuracy, 0.5),
        ([labels[0], labels[1], labels[1], labels[2]], accuracy, 0.1),
        ([labels[0], labels[1], labels[3], labels[2]], accuracy, accuracy[0]),
        (labels, accuracy, accuracy[1]),
    ]


PROPERTIES = {
    "layer-rate": [
        Property("it rises as it should before the cut", 1, rising),
        Property("it is at its peak at the cut and falls after it", 1, falling),
        Property("lower layers are slower, and updates that do not exist are refused", 1, layers_and_refusals),
    ],
    "pool-chunks": [
        Property("texts that fill every chunk", 1, full_texts),
        Property("short texts: padding changes nothing, wherever the text ends", 2, short_texts),
        Property("gradients reach the states that they should", 1, pool_gradients, gradient=True),
        Property("texts without a real step are refused", 1, empty_texts),
    ],
    "labels-worth": [
        Property("between two points of a rising curve", 2, between),
        Property("curves that dip", 2, dips),
        Property("the two ends: there at once, never there", 1, ends),
        Property("curves that are none are refused", 1, bad_curves),
    ],
}
