"""Properties of chapter 01's exercises: growing weights, a backward reader's batches, another vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlib.course.specs import Property

Cases = list[tuple[Any, ...]]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def _mask(rng: np.random.Generator, rows: int, width: int) -> torch.Tensor:
    """Rows with real steps anywhere, at least one in each."""
    mask = torch.tensor(rng.random((rows, width)) < 0.6)
    mask[torch.arange(rows), torch.tensor(rng.integers(0, width, size=rows))] = True
    return mask


def padding_at_the_end(rng: np.random.Generator) -> Cases:
    cases: Cases = []
    for power in (1.0, 0.0, float(rng.uniform(0.3, 3))):
        lengths = torch.tensor(rng.integers(1, 8, size=5))
        cases.append((torch.arange(7)[None] < lengths[:, None], power))
    return [*cases, (torch.ones(2, 9, dtype=torch.bool), 2.0), (torch.ones(3, 1, dtype=torch.bool), 1.0)]


def padding_anywhere(rng: np.random.Generator) -> Cases:
    left = torch.arange(8)[None] >= torch.tensor(rng.integers(0, 8, size=4))[:, None]
    return [(left, 1.0), (left, float(rng.uniform(0.3, 3))), (_mask(rng, 6, 11), 1.5), (_mask(rng, 6, 11), 0.0)]


def empty_rows(rng: np.random.Generator) -> Cases:
    some = _mask(rng, 4, 6)
    some[int(rng.integers(0, 4))] = False
    return [(some, 1.0), (torch.zeros(1, 3, dtype=torch.bool), 0.0), *padding_anywhere(rng)[:1]]


def _sequences(rng: np.random.Generator, lengths: list[int]) -> list[list[int]]:
    return [rng.integers(10, 99, size=length).tolist() for length in lengths]


def _marks(rng: np.random.Generator) -> tuple[int, ...]:
    """bos, eos, pad: different, and not as in the checks."""
    return tuple(rng.permutation(np.arange(4, 9))[:3].tolist())


def equal_lengths(rng: np.random.Generator) -> Cases:
    """Default `ignore`; each of the three marks is 0 once."""
    cases: Cases = []
    for zero, (n, rows) in enumerate(((5, 3), (1, 2), (2, 4))):
        marks = [0 if place == zero else mark for place, mark in enumerate(_marks(rng))]
        cases.append((_sequences(rng, [n] * rows), *marks))
    return cases


def unequal_lengths(rng: np.random.Generator) -> Cases:
    lengths = [[1, 4, 7], [6, 2, 3, 1], rng.integers(1, 9, size=5).tolist()]
    cases: Cases = [(_sequences(rng, each), *_marks(rng), int(rng.integers(-99, -1))) for each in lengths]
    return [*cases, (_sequences(rng, [2, 5]), *_marks(rng), 0)]


def empty_sequences(rng: np.random.Generator) -> Cases:
    some = _sequences(rng, [3, 2])
    return [([], *_marks(rng)), ([[]], *_marks(rng)), ([*some, []], *_marks(rng)), (some, *_marks(rng))]


def _pieces(rng: np.random.Generator, count: int) -> list[str]:
    """Different pieces in lower case."""
    pieces = {"".join(rng.choice(LETTERS, size=4).tolist()) for _ in range(3 * count)}
    return sorted(pieces)[:count]


def _vectors(rng: np.random.Generator, old: list[str], new: list[str], units: int = 3) -> tuple[Any, ...]:
    """Arguments of carry_over for two vocabularies."""
    weights, fresh = (torch.tensor(rng.normal(size=(len(v), units)), dtype=torch.float32) for v in (old, new))
    return weights, old, new, fresh


def same_spelling(rng: np.random.Generator) -> Cases:
    pieces, cases = _pieces(rng, 12), []
    for _ in range(3):
        old, new = (rng.permutation(pieces)[:8].tolist() for _ in range(2))
        cases.append(_vectors(rng, old, new))
    return [*cases, _vectors(rng, pieces[:6], pieces[6:])]


def other_case(rng: np.random.Generator) -> Cases:
    a, b, c, d, e, f = _pieces(rng, 6)
    old = [a, b.capitalize(), c.upper(), d, d.upper(), e.capitalize(), e.upper()]
    new = [a.capitalize(), b, c.capitalize(), d.upper(), d.capitalize(), e, e.upper(), f.upper()]
    return [_vectors(rng, rng.permutation(old).tolist(), rng.permutation(new).tolist()) for _ in range(3)]


def both_gradients(rng: np.random.Generator) -> Cases:
    a, b, c, d = _pieces(rng, 4)
    return [_vectors(rng, [a, b, c], [c, d, a.upper(), c.upper()])]


def misfits(rng: np.random.Generator) -> Cases:
    a, b, c, d = _pieces(rng, 4)
    weights, old, new, fresh = _vectors(rng, [a, b, c], [b, d])
    return [
        (weights[:, :2], old, new, fresh),
        (weights, old, new, fresh[:, :2]),
        (weights[:2], old, new, fresh),
        (weights, old[:2], new, fresh),
        (weights, old, new, fresh[:1]),
        (weights, old, new[:1], fresh),
        (weights, old, new, fresh),
    ]


PROPERTIES = {
    "gain-weights": [
        Property("padding at the end", 1, padding_at_the_end),
        Property("padding anywhere", 1, padding_anywhere),
        Property("rows without a real step are refused", 1, empty_rows),
    ],
    "reversed-batch": [
        Property("sequences of one length", 1, equal_lengths),
        Property("sequences of different lengths", 2, unequal_lengths),
        Property("empty sequences are refused", 1, empty_sequences),
    ],
    "carry-over": [
        Property("pieces of the same spelling, and new ones", 2, same_spelling),
        Property("other capitalisation: only where it is one piece", 1, other_case),
        Property("gradients reach both tensors", 1, both_gradients, gradient=True),
        Property("tensors that do not fit are refused", 1, misfits),
    ],
}
