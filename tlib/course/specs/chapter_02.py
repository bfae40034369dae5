"""Properties of chapter 02's exercises: mixing layers, targets in both directions, probes of every layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlib.course.specs import Property

Cases = list[tuple[Any, ...]]


def _normal(rng: np.random.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(rng.normal(size=shape), dtype=dtype)


def plain_mix(rng: np.random.Generator) -> Cases:
    return [
        (_normal(rng, 3, 2, 4, 5), _normal(rng, 3), float(rng.uniform(0.5, 3))),
        (_normal(rng, 2, 3, 1, 4), 2 * _normal(rng, 2), torch.tensor(float(rng.uniform(-2, -1)))),
        (_normal(rng, 1, 2, 3, 2), _normal(rng, 1), 1.5),
    ]


def extreme_weights(rng: np.random.Generator) -> Cases:
    layers, w = _normal(rng, 4, 2, 3, 5), _normal(rng, 4)
    far = [(layers, w + 300.0, 1.0), (layers, w - 300.0, 1.0), (layers, 200 * w, 2.0)]
    return [*far, (layers, w[:3], 1.0), (layers[:3], w, 1.0)]


def _masked(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Layers of different spread and mean, large numbers under the padding."""
    lengths = torch.tensor([6, *rng.integers(1, 6, size=2).tolist()])
    mask = torch.arange(6)[None] < lengths[:, None]
    scale, shift = torch.tensor([[0.5], [3.0], [10.0]]), torch.tensor([[1.0], [0.0], [-7.0]])
    layers = _normal(rng, 3, 3, 6, 4) * scale[..., None, None] + shift[..., None, None]
    return torch.where(mask[None, ..., None], layers, 100.0), mask


def normalised(rng: np.random.Generator) -> Cases:
    cases: Cases = []
    for _ in range(3):
        layers, mask = _masked(rng)
        cases.append((layers, _normal(rng, 3), float(rng.uniform(0.5, 2)), mask))
    small = 1e-6 * _normal(rng, 3, 3, 6, 4)  # a variance of about 1e-12
    return [*cases, (small, _normal(rng, 3), 1.0, mask)]


def mix_gradients(rng: np.random.Generator) -> Cases:
    layers, mask = _masked(rng)
    gamma = torch.tensor(float(rng.uniform(0.5, 2)))
    return [(_normal(rng, 3, 2, 4, 5), _normal(rng, 3), gamma), (layers, _normal(rng, 3), gamma, mask)]


def _ids(rng: np.random.Generator, lengths: list[int], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor(rng.integers(1, 90, size=(len(lengths), width)))  # under the padding, too
    return ids, torch.tensor(lengths)


def one_length(rng: np.random.Generator) -> Cases:
    return [_ids(rng, [6, 6, 6], 6), _ids(rng, [2], 2), (*_ids(rng, [4, 4], 4), -1)]


def many_lengths(rng: np.random.Generator) -> Cases:
    lengths = rng.integers(2, 8, size=4).tolist()
    return [_ids(rng, [8, 3, 5, 2], 8), _ids(rng, lengths, 9), (*_ids(rng, lengths, 8), int(rng.integers(-90, -2)))]


def shortest_and_refused(rng: np.random.Generator) -> Cases:
    return [_ids(rng, [1, 4, 1], 4), _ids(rng, [1], 1), _ids(rng, [3, 0], 4), _ids(rng, [5, 2], 4)]


def _probe(
    rng: np.random.Generator, layers: int, items: int, units: int, classes: int, folds: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors with a mean, unequal classes and unequal folds, in double precision."""
    labels = torch.tensor([*range(classes), *rng.integers(0, classes, size=items - classes).tolist()])
    fold = torch.tensor([*range(folds), *rng.integers(0, folds, size=items - folds).tolist()])
    vectors = _normal(rng, layers, items, units, dtype=torch.float64) + 2.0
    vectors[:, :, 0] += labels
    return vectors, labels, fold


def one_layer(rng: np.random.Generator) -> Cases:
    return [(*_probe(rng, 1, 30, 4, 3, 3), float(rng.uniform(0.5, 5))), (*_probe(rng, 1, 20, 2, 2, 5), 0.1)]


def many_layers(rng: np.random.Generator) -> Cases:
    return [(*_probe(rng, 3, 40, 5, 4, 4), float(rng.uniform(0.5, 5)))]


def penalised(rng: np.random.Generator) -> Cases:
    return [(*_probe(rng, 2, 24, 4, 3, 3), penalty) for penalty in (1e-3, 50.0, 1e4)] + [
        (*_probe(rng, 2, 8, 12, 2, 2), 1.0)  # more units than items
    ]


def unusual_folds(rng: np.random.Generator) -> Cases:
    vectors, labels, _ = _probe(rng, 2, 18, 3, 3, 3)
    by_class = torch.where(labels == 2, 7, torch.arange(18) % 2)  # no item of class 2 outside its fold
    return [(vectors, labels, by_class, 1.0), (vectors, labels, torch.zeros(18, dtype=torch.long), 1.0)]


PROPERTIES = {
    "scalar-mix": [
        Property("the mix, without a mask", 1, plain_mix),
        Property("weights far from zero, and a wrong number of them", 1, extreme_weights),
        Property("normalised layers, with padding", 1, normalised),
        Property("gradients of layers, weights and gamma", 1, mix_gradients, gradient=True),
    ],
    "bilm-targets": [
        Property("sentences of one length", 1, one_length),
        Property("sentences of different lengths", 2, many_lengths),
        Property("sentences of one token, and lengths that cannot be", 1, shortest_and_refused),
    ],
    "probe-scores": [
        Property("one layer", 2, one_layer),
        Property("several layers on the same folds", 1, many_layers),
        Property("the penalty, and that the intercept is free of it", 2, penalised),
        Property("folds that hold a whole class, or everything", 1, unusual_folds),
    ],
}
