"""Turn token ids into batches: buckets of like lengths, padding, language-model streams.

Everything here is deterministic: the same arguments, seed and epoch give the same batches on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch


def length_buckets(
    lengths: Sequence[int],
    batch_size: int | None = None,
    *,
    max_tokens: int | None = None,
    seed: int = 0,
    epoch: int = 0,
) -> list[list[int]]:
    """Batches of items of nearly the same length, in random order, so that almost nothing is padding.

    Args:
        lengths: tokens of each item.
        batch_size: items per batch (one batch, at a random place in the order of lengths, takes the remainder), or
        max_tokens: tokens per batch, padding included; give one of the two.
        seed, epoch: which shuffle: items of equal length change company, and the batches their order.

    Returns:
        Lists of item numbers; each item occurs once.
    """
    if (batch_size is None) == (max_tokens is None):
        raise ValueError("Give length_buckets either batch_size or max_tokens.")
    if not len(lengths):
        return []
    longest = max(lengths)
    if max_tokens is not None and longest > max_tokens:
        raise ValueError(
            f"An item of {longest} tokens does not fit max_tokens={max_tokens}: truncate it or allow more."
        )
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is the number of items per batch, at least 1, not {batch_size}.")
    rng = random.Random(f"{seed} {epoch}")  # a string: Python hashes it the same everywhere
    items = list(range(len(lengths)))
    rng.shuffle(items)
    items.sort(key=lengths.__getitem__)  # stable: equal lengths stay shuffled
    if batch_size is not None:
        whole, rest = divmod(len(items), batch_size)
        sizes = [batch_size] * whole
        if rest:
            sizes.insert(rng.randint(0, whole), rest)
        ends = list(accumulate(sizes))
        buckets = [items[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    else:
        buckets = [[]]
        for item in items:  # ascending, so the newest item is the longest
            if (len(buckets[-1]) + 1) * lengths[item] > max_tokens:
                buckets.append([])
            buckets[-1].append(item)
    rng.shuffle(buckets)
    return buckets


def in_rounds(rng: np.random.Generator, items: Sequence | np.ndarray, count: int) -> np.ndarray:
    """`count` items: round after round of all of them, each in a new order, the last cut where the count is reached.

    So training that goes many times over few items sees each equally often, up to one.

    Raises:
        ValueError: there are no items.
    """
    if not len(items):
        raise ValueError("in_rounds needs at least one item to go round.")
    rounds = -(-count // len(items))
    return np.concatenate([rng.permutation(items) for _ in range(rounds)])[:count]


def pad(sequences: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of unequal length as one rectangle.

    Returns:
        (input_ids, attention_mask), both LongTensor [B, T] with T the longest length; the mask is 1 on tokens and 0 on
        the padding to their right.
    """
    if not len(sequences):
        raise ValueError("pad needs at least one sequence of token ids.")
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    input_ids = torch.full(mask.shape, pad_id)
    input_ids[mask] = torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.long)
    return input_ids, mask.long()


def last_real(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The state at the last real position of each row, which in a padded row is not the last column.

    Args:
        states: [B, T, D]. mask: [B, T] of 1 on tokens and 0 on the padding to their right, as from `pad`.

    Returns:
        [B, D].

    Raises:
        ValueError: a row is all padding.
    """
    lengths = mask.sum(dim=1)
    if mask.device.type != "meta" and (lengths == 0).any():
        raise ValueError("last_real needs at least one real position in each row, but a row is all padding.")
    return states[torch.arange(len(states), device=states.device), lengths - 1]


def lm_streams(ids: Sequence[int] | torch.Tensor, batch_size: int) -> torch.Tensor:
    """Cut one long text into `batch_size` contiguous streams, the rows that a language model reads side by side.

    Args:
        ids: token ids of the whole corpus, in reading order, shape [tokens].
        batch_size: number of streams.

    Returns:
        LongTensor [batch_size, tokens // batch_size]; the last `tokens % batch_size` ids are dropped.
    """
    ids = torch.as_tensor(ids, dtype=torch.long)
    if ids.dim() != 1:
        raise ValueError(
            f"lm_streams wants one flat sequence of ids, not shape {list(ids.shape)}: concatenate it first."
        )
    if batch_size < 1 or len(ids) < 2 * batch_size:
        raise ValueError(
            f"{len(ids)} tokens cannot fill {batch_size} streams of at least 2 tokens: choose a smaller batch_size."
        )
    length = len(ids) // batch_size
    return ids[: length * batch_size].view(batch_size, length)


def bptt_batches(streams: torch.Tensor, bptt: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Windows of `bptt` tokens along the streams, each with its next tokens, for truncated back-propagation.

    Consecutive windows continue one another row by row, so a hidden state can be carried from each to the next.

    Args:
        streams: LongTensor [B, n] from `lm_streams`.
        bptt: tokens per window.

    Returns:
        List of (x [B, T], y [B, T]) with y one token ahead of x and T = bptt; the last window may be shorter. The
        tensors are views of `streams`: nothing is copied.
    """
    if bptt < 1:
        raise ValueError(f"bptt is the number of tokens per window, at least 1, not {bptt}.")
    last = streams.size(1) - 1  # the final token is only ever a target
    return [
        (streams[:, i : min(i + bptt, last)], streams[:, i + 1 : min(i + bptt, last) + 1]) for i in range(0, last, bptt)
    ]
