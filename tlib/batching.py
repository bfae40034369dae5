"""Turn token ids into batches: buckets of like lengths, padding, packing, language-model streams.

Everything here is deterministic: the same arguments, seed and epoch give the same batches on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def lm_streams(ids: Sequence[int] | torch.Tensor, batch_size: int) -> torch.Tensor:
    """Cut one long text into ``batch_size`` contiguous streams, the rows that a language model reads side by side.

    Args:
        ids: token ids of the whole corpus, in reading order, shape [tokens].
        batch_size: number of streams.

    Returns:
        LongTensor [batch_size, tokens // batch_size]; the last ``tokens % batch_size`` ids are dropped.
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
    """Windows of ``bptt`` tokens along the streams, each with its next tokens, for truncated back-propagation.

    Consecutive windows continue one another row by row, so a hidden state can be carried from each to the next.

    Args:
        streams: LongTensor [B, n] from :func:`lm_streams`.
        bptt: tokens per window.

    Returns:
        List of (x [B, T], y [B, T]) with y one token ahead of x and T = bptt; the last window may be shorter. The
        tensors are views of ``streams``: nothing is copied.
    """
    if bptt < 1:
        raise ValueError(f"bptt is the number of tokens per window, at least 1, not {bptt}.")
    last = streams.size(1) - 1  # the final token is only ever a target
    return [
        (streams[:, i : min(i + bptt, last)], streams[:, i + 1 : min(i + bptt, last) + 1]) for i in range(0, last, bptt)
    ]
