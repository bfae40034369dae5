"""Properties of chapter 08's exercises: labels that come back, consistency label by label, exact shares."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from tlib.course.specs import Property

Cases = list[tuple[Any, ...]]
SCHEDULES = ("log", "linear", "exp")
APART = 1e-7  # how far a probability has to be from every threshold


def _thresholds(total: int, num_classes: int, schedule: str) -> np.ndarray:
    share = np.arange(total) / total
    alpha = {"log": 1 - np.exp(-5 * share), "linear": share, "exp": np.exp(5 * (share - 1))}[schedule]
    return alpha * (1 - 1 / num_classes) + 1 / num_classes


def _plain(probability: float, total: int, num_classes: int, schedule: str) -> Cases:
    """The case, if the probability is not too near to a threshold."""
    near = np.abs(_thresholds(total, num_classes, schedule) - probability).min() < 2 * APART
    return [] if near else [(float(probability), total, num_classes, schedule)]


def each_schedule(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for schedule in SCHEDULES:
        for num_classes in (2, 3, int(rng.integers(4, 20))):
            total = int(rng.integers(20, 400))
            least, most = 1 / num_classes, _thresholds(total, num_classes, schedule)[-1]
            for part in rng.uniform(0.05, 0.95, size=4):
                found += _plain(least + part * (most - least), total, num_classes, schedule)
    return found


def never_or_at_once(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for schedule in SCHEDULES:
        total, num_classes = int(rng.integers(10, 300)), int(rng.integers(2, 9))
        last = _thresholds(total, num_classes, schedule)[-1]
        first = _thresholds(total, num_classes, schedule)[0]
        for probability in (1.0, 0.0, first / 2, (1 + last) / 2, last + 1e-5, last - 1e-5, first + 1e-5, first - 1e-5):
            found += _plain(probability, total, num_classes, schedule)
        for probability in (0.1, 0.45, 0.501, 0.9, 1.0):
            found += _plain(probability, 1, 2, schedule)
    return found


def at_a_threshold(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for schedule in SCHEDULES:
        total, num_classes = int(rng.integers(20, 200)), int(rng.integers(2, 9))
        values = _thresholds(total, num_classes, schedule)
        for update in rng.integers(2, total, size=3):
            exact = float(values[update])
            found += [(exact + off, total, num_classes, schedule) for off in (0.0, 5e-10, -5e-10)]
            found += _plain(exact + 3e-7, total, num_classes, schedule)
    return found


def refused_schedules(rng: np.random.Generator) -> Cases:
    total = int(rng.integers(20, 200))
    return [(0.7, total, 2, name) for name in ("", "cosine", "Linear", "logarithm")] + [(0.7, total, 2, "linear")]


def _logits(rng: np.random.Generator, rows: int, labels: int, size: float = 2.0) -> torch.Tensor:
    return torch.tensor(size * rng.normal(size=(rows, labels)), dtype=torch.float32)


def _clear(z: torch.Tensor, beta: float) -> torch.Tensor:
    """Logits none of which is at the threshold, within rounding: those that are near become twice as large."""
    border = math.log(max(beta, 0.5) / (1 - max(beta, 0.5)))
    near = (z.abs() - border).abs() < 1e-3
    return torch.where(near, 2 * z + 0.5 * z.sign(), z)


def _pair(rng: np.random.Generator, rows: int, labels: int, tau: float, beta: float) -> tuple[Any, ...]:
    return _clear(_logits(rng, rows, labels), beta), _logits(rng, rows, labels), tau, beta


def sure_yes_and_no(rng: np.random.Generator) -> Cases:
    found = [_pair(rng, 6, 4, float(rng.uniform(0.2, 0.9)), beta) for beta in (0.55, 0.7, 0.9, 0.97)]
    only_no = -_clear(_logits(rng, 3, 5).abs(), 0.8)
    return [*found, (only_no, _logits(rng, 3, 5), 0.5, 0.8), (-only_no, _logits(rng, 3, 5), 0.5, 0.8)]


def everything_or_nothing_counts(rng: np.random.Generator) -> Cases:
    undecided = torch.zeros(2, 3)  # 50%: not more than one half
    found: Cases = [_pair(rng, 4, 3, tau, beta) for tau in (0.1, 1.0, 3.0) for beta in (0.0, 0.3, 0.4999)]
    found += [(0.1 * _logits(rng, 4, 3), _logits(rng, 4, 3), 0.4, 0.95), (undecided, _logits(rng, 2, 3), 0.4, 0.5)]
    return [*found, (undecided, _logits(rng, 2, 3), 0.4, 0.45), _pair(rng, 1, 1, 0.7, 0.2), _pair(rng, 1, 7, 0.7, 0.6)]


def label_gradients(rng: np.random.Generator) -> Cases:
    found = [_pair(rng, 5, 4, float(rng.uniform(0.3, 2.0)), beta) for beta in (0.0, 0.6, 0.8)]
    far = torch.tensor(rng.choice([-1000.0, 1000.0, 3.0], size=(4, 3)), dtype=torch.float32)
    return [*found, (far, far.flip(0), 0.5, 0.7), (_logits(rng, 4, 3, 5.0), far, 0.5, 0.7)]


def refused_labels(rng: np.random.Generator) -> Cases:
    z, answer = _logits(rng, 3, 4), _logits(rng, 3, 4)
    return [(z, answer, tau, beta) for tau in (0.0, -0.5, -3.0, 0.5) for beta in (0.0, 0.2)]


def _weights(rng: np.random.Generator, size: int) -> list[float]:
    return [round(float(value), 4) for value in rng.gamma(1.0, 1.0, size=size)]


def nothing_cut(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for size in (4, 9, 25):
        values = _weights(rng, size)
        gaps = max(values) - np.array(values)
        found += [(values, part * float(gaps.mean() / gaps.max())) for part in (0.3, 0.9, 0.999)]
    return [*found, (_weights(rng, 12), 0.0)]


def some_cut(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for size in (5, 12, 30):
        values = _weights(rng, size)
        positive = sum(value < max(values) for value in values)
        found += [(values, part * positive / size) for part in (0.6, 0.8, 0.95, 0.999)]
    steps = [0.0, 0.1, 4.0, 4.5, 4.9, 4.99]
    return [*found, *((list(map(float, rng.permutation(steps))), p) for p in (0.35, 0.5, 0.6, 0.75, 0.82))]


def equal_words(rng: np.random.Generator) -> Cases:
    found: Cases = [([2.0] * size, p) for size in (1, 2, 7) for p in (0.0, 0.4, 1.0)]
    for top in (1, 2, 4):
        values = [*_weights(rng, 6), *[9.0] * top, 0.5, 0.5, 0.5]
        found += [(values, p) for p in (0.2, 0.5, 9.0 / len(values), 0.97, 1.0)]
    return [*found, ([-3.0, -1.0, -1.0, -7.0], 0.4), ([0.0, 0.0, 5.0], 0.6)]


def refused_shares(rng: np.random.Generator) -> Cases:
    values = _weights(rng, 6)
    return [(values, p) for p in (-0.01, 1.01, -3.0, 2.0)] + [(values, p) for p in (0.0, 0.5, 1.0)]


PROPERTIES = {
    "first-counted": [
        Property("each schedule, several numbers of classes", 1, each_schedule),
        Property("texts that count at once, late, or never", 1, never_or_at_once),
        Property(
            "probabilities at a threshold, and schedules that are refused",
            1,
            lambda rng: at_a_threshold(rng) + refused_schedules(rng),
        ),
    ],
    "several-labels": [
        Property("a sure no counts as much as a sure yes", 1, sure_yes_and_no),
        Property("all labels count, or none, or just not", 1, everything_or_nothing_counts),
        Property("gradients, of very large logits too", 1, label_gradients, gradient=True),
        Property("temperatures that are refused", 1, refused_labels),
    ],
    "exact-share": [
        Property("shares with which nothing is cut off", 1, nothing_cut),
        Property("shares with which some words are cut off", 2, some_cut),
        Property("equal words, and shares out of reach", 1, equal_words),
        Property("shares that are refused", 1, refused_shares),
    ],
}
