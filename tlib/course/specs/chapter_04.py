"""Properties of chapter 04's exercises: packed rows, the best span, whole words hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlib.course.specs import Property

Cases = list[tuple[Any, ...]]


def _packed(rng: np.random.Generator, lengths: list[int], width: int) -> list[int]:
    """A row of texts of some lengths, with numbers in no order, padded to a width."""
    numbers = rng.choice(np.arange(1, 60), size=len(lengths), replace=False)
    row = [int(number) for number, length in zip(numbers, lengths, strict=True) for _ in range(length)]
    return row + [0] * (width - len(row))


def whole_rows(rng: np.random.Generator) -> Cases:
    one = torch.tensor([_packed(rng, [5], 5), _packed(rng, [5], 5)])
    several = torch.tensor([_packed(rng, [2, 3, 2], 7), _packed(rng, [1, 1, 5], 7)])
    return [(one, False), (several, False), (torch.tensor([[4]]), False)]


def _padded_rows(rng: np.random.Generator) -> torch.Tensor:
    lengths = [[3, 1, 2], [int(rng.integers(1, 5))], [1, 4], []]
    return torch.tensor([_packed(rng, row, 8) for row in lengths])


def padded_rows(rng: np.random.Generator) -> Cases:
    return [(_padded_rows(rng), False), (torch.tensor([_packed(rng, [2], 9)]), False)]


def causal_rows(rng: np.random.Generator) -> Cases:
    return [(_padded_rows(rng), True), (torch.tensor([_packed(rng, [3, 3], 6)]), True)]


def padding_in_front(rng: np.random.Generator) -> Cases:
    row = _packed(rng, [2, 2], 6)
    good, inside = torch.tensor([row, row]), torch.tensor([row, [row[0], 0, row[2], row[2], 0, 0]])
    in_front = torch.tensor([[0, *row[:5]]])
    return [(good, False), (inside, False), (in_front, True)]


def _paragraph(width: int, first: int, last: int) -> torch.Tensor:
    steps = torch.arange(width)
    return (steps >= first) & (steps <= last)


def _scores(rng: np.random.Generator, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores that no two spans share, nor come near to sharing."""
    start, end = rng.permutation(width), rng.permutation(width) * (width + 1)
    return tuple(torch.tensor(side, dtype=torch.float32) / 7 for side in (start, end))


def any_length(rng: np.random.Generator) -> Cases:
    return [(*_scores(rng, 12), _paragraph(12, 4, 10), 12, -1e4) for _ in range(3)]


def spans_in_order(rng: np.random.Generator) -> Cases:
    """The best end stands before the best start, and neither in the paragraph is the best of all."""
    found: Cases = []
    for first in (3, int(rng.integers(4, 6))):
        start, end = _scores(rng, 14)
        start[0], end[0] = 50.0, 50.0
        start[12], end[13] = 90.0, 90.0  # behind the paragraph
        start[9], end[first] = 40.0, 40.0
        found.append((start, end, _paragraph(14, first, 11), 14, -200.0))
    return found


def short_answers(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for max_length in (1, 2, 3, 5):
        start, end = _scores(rng, 15)
        start[4], end[9] = 40.0, 40.0  # together too long, but for the last
        found += [(start, end, _paragraph(15, 3, 13), max_length, -1e4)]
    start, end = _scores(rng, 15)
    start[5], end[8] = 60.0, 60.0  # exactly as long as allowed
    return [*found, (start, end, _paragraph(15, 3, 13), 4, -1e4), (start, end, _paragraph(15, 3, 13), 3, -1e4)]


def equal_spans(rng: np.random.Generator) -> Cases:
    flat = torch.full((8,), float(rng.integers(1, 5)))
    steps = torch.tensor([0.0, 0.0, 2.0, 1.0, 2.0, 1.0, 2.0, 0.0])
    return [
        (flat, flat, _paragraph(8, 2, 6), 3, -1.0),
        (steps, steps, _paragraph(8, 1, 7), 2, -1.0),
        (steps, flat, _paragraph(8, 3, 6), 4, -9.0),
        (flat, steps, _paragraph(8, 3, 6), 4, -9.0),
    ]


def thresholds(rng: np.random.Generator) -> Cases:
    start, end = (torch.tensor(rng.permutation(9) + 3, dtype=torch.float32) for _ in range(2))
    context = _paragraph(9, 2, 7)
    sums = (start[:, None] + end).triu()[context][:, context].max().item() - (start[0] + end[0]).item()
    near = [(start, end, context, 9, sums + step) for step in (-1.0, -0.5, 0.0, 0.5)]
    return [*near, (start, end, context, 9, -30.0), (start, end, context, 9, 30.0)]


def refused_spans(rng: np.random.Generator) -> Cases:
    start, end = _scores(rng, 6)
    context = _paragraph(6, 2, 4)
    nothing = torch.zeros(6, dtype=torch.bool)
    return [(start, end, context, 1, -1e4), (start, end, context, 0, -1e4), (start, end, nothing, 3, -1e4)]


def _batch(rng: np.random.Generator, rows: list[list[int]], width: int, more_lots: int = 0) -> list[torch.Tensor]:
    """Ids, words, lots, fates and others of rows, given as the pieces of each word."""
    ids, words = np.zeros((len(rows), width), dtype=int), np.full((len(rows), width), -1)
    for row, lengths in enumerate(rows):
        owners = np.repeat(np.arange(len(lengths)), lengths)
        words[row, 1 : 1 + len(owners)] = owners
        ids[row, : len(owners) + 2] = [2, *rng.integers(10, 90, size=len(owners)), 3]
    lots = rng.permuted(np.tile(np.linspace(0.01, 0.99, max(map(len, rows)) + more_lots), (len(rows), 1)), axis=1)
    fate, others = rng.uniform(size=ids.shape), rng.integers(100, 190, size=ids.shape)
    return [
        torch.tensor(part, dtype=dtype)
        for part, dtype in ((ids, None), (words, None), (lots, torch.float32), (fate, torch.float32), (others, None))
    ]


def _lengths(rng: np.random.Generator, words: int, longest: int) -> list[int]:
    return [int(length) for length in rng.integers(1, longest + 1, size=words)]


def single_pieces(rng: np.random.Generator) -> Cases:
    rows = [[1] * int(rng.integers(12, 20)), [1] * 20, [1] * 10]
    return [(*_batch(rng, rows, 22), 4), (*_batch(rng, [[1] * 30], 32), 4)]


def long_words(rng: np.random.Generator) -> Cases:
    found: Cases = [(*_batch(rng, [_lengths(rng, 9, 4) for _ in range(4)], 38), 4) for _ in range(3)]
    return [*found, (*_batch(rng, [[6, 1, 5, 2, 4], [5, 5]], 20), 4, 0.25)]


def rates(rng: np.random.Generator) -> Cases:
    rows = [_lengths(rng, 8, 3) for _ in range(3)]
    found: Cases = [(*_batch(rng, rows, 26), 4, rate) for rate in (0.01, 0.4, 0.97)]
    return [*found, (*_batch(rng, [[1] * 5, [1, 2, 2]], 7), 4, 0.5), (*_batch(rng, [[1] * 7], 9), 4, 0.5)]


def fates(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for hide, swap in ((0.8, 0.1), (0.3, 0.5), (0.0, 0.5), (0.5, 0.0), (0.0, 1.0)):
        found.append((*_batch(rng, [_lengths(rng, 9, 2) for _ in range(3)], 20), 4, 0.6, hide, swap))
    ids, words, lots, fate, others = _batch(rng, [[1] * 12], 14)
    fate = torch.tensor(rng.choice([0.25, 0.5, 0.75], size=fate.shape), dtype=torch.float32)
    edges = ((0.25, 0.5), (0.5, 0.25), (0.5, 0.0))  # fates that equal a bound
    return found + [(ids, words, lots, fate, others, 4, 0.9, hide, swap) for hide, swap in edges]


def unusual_batches(rng: np.random.Generator) -> Cases:
    rows = [_lengths(rng, 6, 3), [2], [], [7]]
    wide = _batch(rng, rows, 24, more_lots=5)
    marks = [(*wide, 9, 0.3, 0.8, 0.1, ignore) for ignore in (-1, 1000)]
    return [(*wide, 4), *marks, (*_batch(rng, [[3, 3], [1, 1]], 10), 4)]


def refused_rates(rng: np.random.Generator) -> Cases:
    batch = _batch(rng, [_lengths(rng, 6, 2)], 16)
    return [(*batch, 4, rate) for rate in (0.2, 0.0, 1.0, -0.1, 1.5)]


PROPERTIES = {
    "packed-attention": [
        Property("rows that are full", 1, whole_rows),
        Property("rows with padding", 1, padded_rows),
        Property("the causal mask", 1, causal_rows),
        Property("padding that stands before a text is refused", 1, padding_in_front),
    ],
    "best-span": [
        Property("spans of any length", 1, any_length),
        Property("the order of start and end, and the paragraph", 1, spans_in_order),
        Property("answers that would be too long", 1, short_answers),
        Property("spans with equal scores", 1, equal_spans),
        Property("the threshold, and what has to be refused", 1, lambda rng: thresholds(rng) + refused_spans(rng)),
    ],
    "whole-word-masking": [
        Property("words of one piece", 1, single_pieces),
        Property("words of several pieces", 2, long_words),
        Property("other rates, and those that are refused", 1, lambda rng: rates(rng) + refused_rates(rng)),
        Property("what becomes of a chosen piece", 1, fates),
        Property("rows with few words, and lots to spare", 1, unusual_batches),
    ],
}
