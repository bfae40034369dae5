"""Metrics as per-example arrays, so that two models can be compared item by item (see `tlib.claims`).

A metric that is a mean over items comes as its array of items: `correct`, for instance, one 0 or 1 per test example.
A metric that is not (macro F1, perplexity) comes as a function of one array [item, 2], the form in which
`tlib.claims.bootstrap_interval` resamples it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from tlib.training import autocast, send_to_device


def predict_logits(
    model: nn.Module,
    batches: Sequence[Any],
    logits_fn: Callable[[nn.Module, Any], torch.Tensor] | None = None,
    order: Sequence[int] | None = None,
    precision: str | None = None,
) -> torch.Tensor:
    """A model's outputs on every row of some batches, in evaluation mode and without gradients.

    Args:
        batches: as for `tlib.training.fit`.
        logits_fn: `logits_fn(model, batch)` gives [rows, ...]; by default `model(batch)`.
        order: the item that each row is, if the batches are not in the items' order: the concatenated lists of
            `tlib.batching.length_buckets`. The result is in the items' order.
        precision: "fp32", "bf16" or "fp16"; by default the one that `fit` trains in on this device.

    Returns:
        float32 tensor [items, ...] on the CPU. The model is left in the mode it was in.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(device, precision):
            rows = [
                logits_fn(model, batch) if logits_fn else model(batch)
                for batch in (send_to_device(batch, device) for batch in batches)
            ]
    finally:
        model.train(was_training)
    logits = torch.cat(rows).float().cpu()
    if order is None:
        return logits
    place = torch.as_tensor(order)
    if not torch.equal(place.sort().values, torch.arange(len(logits))):
        raise ValueError(
            f"order has to name each of the {len(logits)} predicted rows once, from 0 to {len(logits) - 1}: "
            "concatenate the buckets that the batches were made from."
        )
    in_order = torch.empty_like(logits)
    in_order[place] = logits
    return in_order


def correct(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """1.0 where the largest logit [item, class] is the label's [item], else 0.0: [item], whose mean is the accuracy."""
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits [item, class] and labels [item], not shapes {logits.shape} and {labels.shape}"
        )
    return (logits.argmax(axis=1) == labels).astype(np.float64)


def macro_f1(predictions_and_labels: ArrayLike) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN), from an array [item, 2]: predicted class, true class.

    A class counts if it occurs on either side, as in scikit-learn.
    """
    predicted, true = _columns(predictions_and_labels, "predicted and true class")
    scores = []
    for label in np.union1d(predicted, true):
        hits = np.sum((predicted == label) & (true == label))
        scores.append(2 * hits / (np.sum(predicted == label) + np.sum(true == label)))
    return float(np.mean(scores))


def perplexity(losses_and_tokens: ArrayLike) -> float:
    """exp(total loss / total tokens), from an array [item, 2]: an item's summed loss in nats, its number of tokens."""
    losses, tokens = _columns(losses_and_tokens, "summed loss and number of tokens")
    return float(np.exp(losses.sum() / tokens.sum()))


def _columns(pairs: ArrayLike, meaning: str) -> tuple[NDArray, NDArray]:
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError(f"expected an array [item, 2] of {meaning} for at least one item, not shape {pairs.shape}")
    return pairs[:, 0], pairs[:, 1]
