"""Properties of chapter 11's exercises: adapters of several tasks in a batch, linear ones folded, ranks of changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlib.course.specs import Property

Cases = list[tuple[Any, ...]]


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.tensor(scale * rng.normal(size=shape), dtype=torch.float32)


def _adapters(rng: np.random.Generator, tasks: int, d: int, m: int) -> tuple[torch.Tensor, ...]:
    return _normal(rng, tasks, m, d), _normal(rng, tasks, m), _normal(rng, tasks, d, m), _normal(rng, tasks, d)


def _batch(rng: np.random.Generator, chosen: list[int], tasks: int, d: int = 5, m: int = 3, t: int = 4) -> tuple:
    return _normal(rng, len(chosen), t, d), torch.tensor(chosen), *_adapters(rng, tasks, d, m)


def one_task(rng: np.random.Generator) -> Cases:
    first, second = (int(task) for task in rng.permutation(4)[:2])
    wide = _batch(rng, [0, 0], tasks=1, d=3, m=7)
    return [_batch(rng, [first] * 3, tasks=4), _batch(rng, [second], tasks=4, t=1, m=1), wide]


def several_tasks(rng: np.random.Generator) -> Cases:
    found: Cases = [_batch(rng, rng.integers(0, tasks, size=6).tolist(), tasks) for tasks in (2, 3, 6)]
    return [*found, _batch(rng, [2, 0, 1], tasks=3, d=3, m=3, t=3), _batch(rng, [1, 0], tasks=2, d=2, m=2, t=2)]


def rows_without(rng: np.random.Generator) -> Cases:
    mixed = [int(task) for task in rng.permutation([-1, 0, 1, 2, -1])]
    return [_batch(rng, mixed, tasks=3), _batch(rng, [-1, -1], tasks=2), _batch(rng, [-1, 0], tasks=1)]


def refused_tasks(rng: np.random.Generator) -> Cases:
    good = ([0, 1, 2], [2, 2, 2], [-1, 2, 0])
    bad = ([0, 3, 1], [-2, 0, 1], [1, 7, -1], [3, 3, 3], [-2, -2, -2], [0, -5, 4])
    return [_batch(rng, chosen, tasks=3) for chosen in (*good, *bad)]


def _linear(rng: np.random.Generator, out: int, inner: int, bias: bool = True) -> tuple[Any, ...]:
    return _normal(rng, out, inner), _normal(rng, out) if bias else None


def _linear_adapter(rng: np.random.Generator, width: int, m: int) -> tuple[torch.Tensor, ...]:
    return _normal(rng, m, width), _normal(rng, m), _normal(rng, width, m), _normal(rng, width)


def one_adapter(rng: np.random.Generator) -> Cases:
    shapes = ((4, 6, 2), (6, 4, 3), (3, 3, 3), (5, 2, 1))
    return [(*_linear(rng, out, inner), [_linear_adapter(rng, out, m)]) for out, inner, m in shapes]


def chained(rng: np.random.Generator) -> Cases:
    found: Cases = []
    for out, inner, sizes in ((4, 5, [2, 2]), (5, 3, [3, 1]), (3, 4, [1, 2, 4])):
        found.append((*_linear(rng, out, inner), [_linear_adapter(rng, out, m) for m in sizes]))
    return found


def no_bias(rng: np.random.Generator) -> Cases:
    found: Cases = [(*_linear(rng, 4, 3, bias=False), [_linear_adapter(rng, 4, 2) for _ in range(n)]) for n in (1, 2)]
    empty: Cases = [(*_linear(rng, 3, 5, bias=False), []), (*_linear(rng, 3, 5), [])]
    return [*found, *empty]


def refused_widths(rng: np.random.Generator) -> Cases:
    fits = (*_linear(rng, 4, 3), [_linear_adapter(rng, 4, 2)])
    found: Cases = [fits]
    for width in (3, 5):
        found.append((*_linear(rng, 4, 3), [_linear_adapter(rng, width, 2)]))
        found.append((*_linear(rng, 4, 3), [_linear_adapter(rng, 4, 3), _linear_adapter(rng, width, 3)]))
    return [*found, (*_linear(rng, 4, 4, bias=False), [_linear_adapter(rng, 4, 4), _linear_adapter(rng, 2, 4)])]


def _change(rng: np.random.Generator, out: int, inner: int, values: list[float]) -> torch.Tensor:
    """A matrix with these singular values."""
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0][:, : len(values)] for n in (out, inner))
    return torch.tensor((left * np.array(values)) @ right.T, dtype=torch.float32)


def _layers(rng: np.random.Generator, out: int, inner: int, values: list[list[float]], share: float) -> tuple[Any, ...]:
    """A case whose changes have the given singular values, layer by layer."""
    before = _normal(rng, len(values), out, inner)
    return before, before + torch.stack([_change(rng, out, inner, of_layer) for of_layer in values]), share


def one_layer(rng: np.random.Generator) -> Cases:
    sizes = [3.0, 2.0, 1.0]  # squares 9, 4, 1: with ranks 1 and 2, 9 / 14 = 0.643 and 13 / 14 = 0.929
    found: Cases = [_layers(rng, 4, 6, [sizes], share) for share in (0.3, 0.63, 0.66, 0.9, 0.95)]
    return [*found, _layers(rng, 6, 3, [sizes], 0.8), _layers(rng, 3, 3, [[2.0, 1.5, 1.0]], 0.5)]


def several_layers(rng: np.random.Generator) -> Cases:
    uneven = [[4.0, 1.0, 0.5], [1.2, 1.0, 0.8], [0.2, 0.1, 0.05]]  # ranks keep 0.858, 0.956, 1
    found: Cases = [_layers(rng, 5, 4, uneven, share) for share in (0.5, 0.8, 0.92, 0.97)]
    found += [_layers(rng, 3, 5, [[1.1, 1.0, 0.9], [5.0, 0.2, 0.1]], share) for share in (0.85, 0.95, 0.99)]
    return [*found, _layers(rng, 4, 4, [[3.0], [1.3, 1.1, 1.0, 0.9]], 0.8)]


def thin_or_nothing(rng: np.random.Generator) -> Cases:
    before = _normal(rng, 2, 3, 4)
    found: Cases = [(before, before.clone(), share) for share in (0.1, 0.9)]
    thin = [_layers(rng, 4, 5, [[2.0], [1.0]], 0.99), _layers(rng, 1, 4, [[2.0], [3.0]], 0.5)]
    return [*found, *thin, _layers(rng, 4, 1, [[2.0]], 0.5), _layers(rng, 3, 3, [[], [0.5, 0.3]], 0.9)]


def refused_shares(rng: np.random.Generator) -> Cases:
    values = [[2.0, 1.0], [1.0, 0.5]]
    return [_layers(rng, 3, 4, values, share) for share in (0.0, 1.0, -0.2, 1.5, 0.01, 0.98)]


PROPERTIES = {
    "mixed-adapters": [
        Property("all rows of one task, gradients included", 1, one_task, gradient=True),
        Property("rows of different tasks, gradients included", 1, several_tasks, gradient=True),
        Property("rows without an adapter", 1, rows_without),
        Property("tasks that there are not, which are refused", 1, refused_tasks),
    ],
    "fold-linear": [
        Property("one adapter", 1, one_adapter),
        Property("several adapters, one behind the other", 2, chained),
        Property("a layer without bias, and no adapter at all", 1, no_bias),
        Property("adapters of another width, which are refused", 1, refused_widths),
    ],
    "rank-of-change": [
        Property("a single layer", 2, one_layer),
        Property("several layers, one rank for all", 2, several_layers),
        Property("changes of low rank, and none at all", 1, thin_or_nothing),
        Property("shares that are refused", 1, refused_shares),
    ],
}
