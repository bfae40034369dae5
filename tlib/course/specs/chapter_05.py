"""Properties of chapter 05's exercises: repeats that are banned, a mixture's limit, rows of spans corrupted."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from tlib.course.specs import Property

Cases = list[tuple[Any, ...]]
ROUNDED = 1 + 1e-12  # a share times this differs by no more than rounding may


def _logits(rng: np.random.Generator, rows: int, words: int) -> torch.Tensor:
    return torch.tensor(rng.normal(size=(rows, words)), dtype=torch.float32)


def _written(rng: np.random.Generator, rows: int, length: int, words: int) -> torch.Tensor:
    return torch.tensor(rng.integers(0, words, size=(rows, length)))


def _periodic(rng: np.random.Generator, period: int, length: int, words: int) -> list[int]:
    """A row that says the same thing again and again: each of its long n-grams goes on in one way only."""
    again = rng.choice(words, size=period, replace=False)
    return [int(again[place % period]) for place in range(length)]


def longer_grams(rng: np.random.Generator) -> Cases:
    found: Cases = [(_logits(rng, 6, 5), _written(rng, 6, 20, 5), n) for n in (2, 3)]
    for n, periods in ((4, (3, 4, 7)), (6, (5, 1, 2)), (3, (2, 3, 6))):
        rows = torch.tensor([_periodic(rng, period, 16, 9) for period in periods])
        found.append((_logits(rng, 3, 9), rows, n))
    a, b, c, d = map(int, rng.choice(9, size=4, replace=False))
    other_row = torch.tensor([[a, b, c, d, a], [d, c, d, a, b], [b, c, a, b, c], [c, c, c, a, d]])
    return [*found, *((_logits(rng, 4, 9), other_row, n) for n in (2, 3))]


def single_tokens(rng: np.random.Generator) -> Cases:
    found: Cases = [(_logits(rng, 4, 12), _written(rng, 4, length, 12), 1) for length in (7, 1, 40)]
    banned = _logits(rng, 3, 8)
    banned[:, 2] = -torch.inf
    banned[1] = -torch.inf
    tokens = _written(rng, 3, 9, 8)
    return [*found, (banned, tokens, 1), (banned, tokens, 2), (_logits(rng, 1, 3).double(), _written(rng, 1, 6, 3), 2)]


def few_tokens(rng: np.random.Generator) -> Cases:
    same = torch.full((2, 4), int(rng.integers(0, 7)))
    found: Cases = [(_logits(rng, 2, 7), same[:, :length], n) for length in range(5) for n in (1, 2, 3, 4, 5, 9)]
    return [*found, (_logits(rng, 3, 7), _written(rng, 3, 3, 7), 3)]


def refused_grams(rng: np.random.Generator) -> Cases:
    logits, tokens = _logits(rng, 2, 5), _written(rng, 2, 6, 5)
    return [(logits, tokens, n) for n in (0, -1, -3)] + [(logits, tokens[:, :0], 0), (logits, tokens, 1)]


def _sizes(rng: np.random.Generator, sizes: list[int]) -> dict[str, int]:
    """Sizes by task, in no order."""
    names = rng.permutation(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"])
    return {str(name): int(size) for name, size in zip(names, rng.permutation(sizes), strict=False)}


def _different(rng: np.random.Generator, tasks: int, least: int = 10, most: int = 5000) -> list[int]:
    return sorted(rng.choice(np.arange(least, most), size=tasks, replace=False).tolist())


def _share(sizes: list[int], limit: float) -> float:
    """The smallest task's share under a limit."""
    return min(sizes) / sum(min(size, limit) for size in sizes)


def limits_between(rng: np.random.Generator) -> Cases:
    """In each stretch between two neighbouring sizes, and at a size."""
    found: Cases = []
    for tasks in (2, 3, 4, 6):
        ordered = _different(rng, tasks)
        for low, high in pairwise(ordered):
            limit = low + float(rng.uniform(0.1, 0.9)) * (high - low)
            found.append((_sizes(rng, ordered), _share(ordered, limit)))
    ordered = [3, 5, 6, 9, 4000]
    return [*found, *((_sizes(rng, ordered), _share(ordered, limit)) for limit in (5, 6, 9, 3.5, 2500.5))]


def ties_and_no_limit(rng: np.random.Generator) -> Cases:
    low, middle, high = _different(rng, 3)
    found: Cases = []
    for ordered in ([low, low, high], [low, low, low, middle, high], [low, middle, high, high], [low, middle, middle]):
        least, most = _share(ordered, math.inf), 1 / len(ordered)
        for part in (0.1, 0.5, 0.9):
            found.append((_sizes(rng, ordered), least + part * (most - least)))
        found += [
            (_sizes(rng, ordered), share) for share in (least, least * ROUNDED, least * 0.999, least * 1.001, least / 9)
        ]
    for ordered in ([low], [middle] * 3, [1] * 7, [1]):
        found += [(_sizes(rng, ordered), share / len(ordered)) for share in (1.0, ROUNDED, 0.999, 0.1)]
    return found


def largest_shares(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for tasks in (2, 3, 6):
        ordered = _different(rng, tasks)
        found += [(_sizes(rng, ordered), share / tasks) for share in (1.0, ROUNDED, 0.999, 1.001, 1.5)]
    for ordered in ([4, 4, 4], [17], [2, 2, 9]):
        found += [(_sizes(rng, ordered), share / len(ordered)) for share in (1.0, ROUNDED, 1.001, len(ordered) * 1.01)]
    return found


def _rows(
    rng: np.random.Generator, patterns: list[str], first: int = 999, eos: int = 3, pad: int = 0, least: int = 10
) -> tuple[Any, ...]:
    """A case from patterns: "." is a token that stays, "x" one that goes, "_" padding, "X" padding that is masked."""
    width = max(map(len, patterns))
    signs = np.array([list(pattern.ljust(width, "_")) for pattern in patterns])
    ids = np.where(np.isin(signs, ["_", "X"]), pad, rng.integers(least, least + 30, size=signs.shape))
    return torch.tensor(ids), torch.tensor(np.isin(signs, ["x", "X"])), first, eos, pad


def _pattern(rng: np.random.Generator, length: int, rate: float) -> str:
    return "".join(rng.choice([".", "x"], size=length, p=[1 - rate, rate]))


def one_span(rng: np.random.Generator) -> Cases:
    rows = []
    for _ in range(5):
        before, inside = (int(count) for count in rng.integers(1, 5, size=2))
        rows.append("." * before + "x" * inside + "." * (10 - before - inside))
    ends = ["xx......", "......xx", "...xxx..", "x.......", ".......x"]
    return [_rows(rng, rows), _rows(rng, ends, first=int(rng.integers(200, 300))), _rows(rng, ["..xx."], eos=1)]


def several_spans(rng: np.random.Generator) -> Cases:
    found: Cases = [_rows(rng, [_pattern(rng, 14, rate) for _ in range(5)]) for rate in (0.15, 0.5, 0.8)]
    dense = ["x.x.x.x", ".x.x.x.", "xx.xx.x", "x.xxx.x", "....x.x"]
    return [*found, _rows(rng, dense, first=int(rng.integers(200, 300)), eos=2), _rows(rng, ["xx.x..xxx"])]


def padded_texts(rng: np.random.Generator) -> Cases:
    lengths = [int(length) for length in rng.permutation([2, 5, 9, 12, 13])]
    rows = [_pattern(rng, length, 0.4) for length in lengths]
    zeros = _rows(rng, ["x..x__", "...x.x", "..____"], eos=31, pad=40, least=0)
    negative = _rows(rng, [".x..x___", "xx.x.x._", "..xx____"], eos=55, pad=-1, least=0)
    no_full_row = _rows(rng, [".x.x..___", "x._______", "..xx_____"], eos=1, pad=2, first=77)
    return [_rows(rng, rows), zeros, negative, no_full_row]


def refused_masks(rng: np.random.Generator) -> Cases:
    good = _rows(rng, [".x.xx", "xx.__"])
    bad = (["..x.", ".x.X"], ["..._X", ".x.xx"], ["x..xX", "....."], ["XX", "x."])
    return [good, *(_rows(rng, rows) for rows in bad), _rows(rng, [".xXX_", "....."], pad=7)]


def unusual_rows(rng: np.random.Generator) -> Cases:
    mixed = ["......", "xxxxxx", "..x.x.", "xxx", "....", "x", "."]
    texts_gone, texts_kept = ["xxxx", "xx__", "x___"], ["....", "..__", "._"]
    found: Cases = [_rows(rng, rows) for rows in (mixed, mixed[:2], texts_gone, texts_kept, ["x"], ["."])]
    empty = [
        _rows(rng, rows, pad=4, eos=1) for rows in (["___", ".x.", "xxx"], ["___", "..."], ["__", "__"], ["_", "x"])
    ]
    return [*found, *empty]


PROPERTIES = {
    "no-repeats": [
        Property("n-grams of two tokens and more", 1, longer_grams),
        Property("n-grams of one token, and logits that are -inf already", 1, single_tokens),
        Property(
            "texts that are too short, and an n that is refused", 1, lambda rng: few_tokens(rng) + refused_grams(rng)
        ),
    ],
    "limit-for-share": [
        Property("a limit between two sizes", 1, limits_between),
        Property("equal sizes, a single task, and where no limit is needed", 1, ties_and_no_limit),
        Property("the largest share, and those that are refused", 1, largest_shares),
    ],
    "corrupt-rows": [
        Property("one span in each text", 1, one_span),
        Property("several spans, in each text another number", 1, several_spans),
        Property("padding, and masks that are refused", 1, lambda rng: padded_texts(rng) + refused_masks(rng)),
        Property("texts of which all stays or all goes, and empty ones", 1, unusual_rows),
    ],
}
