"""What every recurrent language model of the book shares: its text as one stream, and its loss over windows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F


def as_stream(documents: Sequence[Sequence[int]], order_seed: int) -> torch.Tensor:
    """Documents of token ids in random order, joined: LongTensor [tokens].

    Raises:
        ValueError: there is no token in them.
    """
    shuffled = random.Random(order_seed).sample(documents, len(documents))
    stream = torch.tensor([token for document in shuffled for token in document], dtype=torch.long)
    if not len(stream):
        raise ValueError(f"{len(documents)} documents without a token: a language model needs text.")
    return stream


class NextTokenLoss:
    """Mean cross-entropy of the next token, in nats, over windows that follow one another.

    The last state of a window is the first of the next, without its gradient: truncated back-propagation through time.
    The model gives `model(ids [B, T], state) -> (logits [B, T, V], state)` and, for the first window,
    `model.initial_state(B)`; a state is a list of tensors `(h, c)`, one pair a layer.
    """

    def __init__(self):
        self.state: list[tuple[torch.Tensor, torch.Tensor]] | None = None

    def __call__(self, model: Any, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        ids, targets = batch  # each [B, T]
        state = self.state if self.state is not None else model.initial_state(len(ids))
        logits, state = model(ids, state)
        self.state = [(h.detach(), c.detach()) for h, c in state]
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def state_dict(self) -> dict[str, torch.Tensor]:
        pairs = enumerate(self.state or [])
        return {f"{name}{i}": tensor for i, pair in pairs for name, tensor in zip("hc", pair, strict=True)}

    def load_state_dict(self, saved: dict[str, torch.Tensor]) -> None:
        layers = len(saved) // 2
        self.state = [(saved[f"h{i}"], saved[f"c{i}"]) for i in range(layers)] or None
