"""What makes fine-tuning an encoder cheaper on a CPU, and changes no result: less to compute, quicker noise.

Measured on the author page "The training loop measured"."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

LARGE = 10_000  # rows from which an embedding's gradient is worth a buffer of its own


def first_token_states(encoder: nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The last layer's state of each row's first token ([CLS]), as `encoder(...).last_hidden_state[:, 0]` gives it.

    A classifier on [CLS] reads one position of the last layer. There, keys and values are needed for all tokens, but
    query, attention output and feed-forward block (five sixths of the layer's parameters) for the first only. With six
    layers this saves a seventh of the arithmetic, forward and backward, and changes no result.

    Args:
        encoder: a `BertModel`, or a model of transformers built like it (`RobertaModel`, `XLMRobertaModel`).
        input_ids, attention_mask: LongTensor [B, T], padding to the right.

    Returns:
        [B, D] states.
    """
    try:
        *layers, last = encoder.encoder.layer
        attention = last.attention.self
    except AttributeError:
        raise TypeError(
            f"first_token_states knows encoders built like BertModel, not "
            f"{type(encoder).__name__}: use the encoder's own forward."
        ) from None
    states = encoder.embeddings(input_ids=input_ids)
    mask = None  # added to the attention scores; with no padding there is nothing to hide
    if not attention_mask.all():
        mask = (1 - attention_mask[:, None, None, :].to(states.dtype)) * torch.finfo(states.dtype).min
    for layer in layers:
        states = layer(states, mask)
    first = states[:, :1]

    def heads(x: torch.Tensor) -> torch.Tensor:  # [B, T, D] -> [B, H, T, D / H]
        return x.unflatten(2, (-1, attention.attention_head_size)).transpose(1, 2)

    query, key, value = heads(attention.query(first)), heads(attention.key(states)), heads(attention.value(states))
    scores = query @ key.transpose(2, 3) * attention.scaling  # [B, H, 1, T]
    if mask is not None:
        scores = scores + mask
    context = attention.dropout(scores.softmax(-1)) @ value  # [B, H, 1, D / H]
    attended = last.attention.output(context.transpose(1, 2).flatten(2), first)
    return last.output(last.intermediate(attended), attended)[:, 0]


def run_layers(layers: Iterable[nn.Module], states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """States [B, T, D] after some of an encoder's layers; the mask [B, T] is 1 on tokens and 0 on hidden padding."""
    hidden = (1 - mask[:, None, None, :].to(states.dtype)) * torch.finfo(states.dtype).min
    for layer in layers:
        states = layer(states, hidden)
    return states


def mean_state(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean [B, D] of each row's states [B, T, D] that are no padding; zero where all is padding."""
    weights = mask.to(states.dtype)
    return torch.einsum("btd,bt->bd", states, weights) / weights.sum(dim=1, keepdim=True).clamp(min=1)


def use_fast_training(model: nn.Module) -> None:
    """Let a transformers model train faster on a CPU, in place: the same function, the same gradients.

    Dropout draws cheaper noise (`FastDropout`, in attention too, which becomes the plain one: with dropout, the fused
    kernel falls back to a slower form of the same), and large embeddings keep the memory of their gradient
    (`KeptGradientEmbedding`). Models of the custom-attention kind (`set_attn_implementation`) get all three, other
    modules the first and the last.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, FastDropout(child.p).train(child.training))
            elif type(child) is nn.Embedding and child.num_embeddings >= LARGE:
                setattr(module, name, KeptGradientEmbedding.of(child))
    if hasattr(model, "set_attn_implementation"):
        _register_attention()
        model.set_attn_implementation("tlib")


def fast_dropout(x: torch.Tensor, p: float) -> torch.Tensor:
    """Dropout of `x` whose noise is cheap on a CPU: 16 random bits decide over each unit, four units per random number.

    A unit is dropped with probability p, rounded to a multiple of 2^-16, and the others are scaled so that the mean is
    kept exactly. On other devices this is `torch.nn.functional.dropout`.
    """
    dropped = round(p * 2**16)  # of the 2^16 values that 16 bits take
    if x.device.type != "cpu" or dropped in (0, 2**16):
        return F.dropout(x, p)
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    drawn = words.view(torch.int16)[: x.numel()].view(x.shape)
    noise = (drawn >= dropped - 2**15).to(x.dtype).mul_(2**16 / (2**16 - dropped))
    return x * noise


class FastDropout(nn.Dropout):
    """`fast_dropout` as a module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return fast_dropout(x, self.p) if self.training else x


class KeptGradientEmbedding(nn.Embedding):
    """An embedding whose dense gradient lies in one buffer, kept from update to update.

    PyTorch allots the gradient anew in each backward pass. For BERT's 30,522 words that is 47 MB, which the operating
    system hands out page by page: a sixth of an update's time with MiniLM. Gradients are the same; gradients of
    gradients are not supported.
    """

    @classmethod
    def of(cls, embedding: nn.Embedding) -> KeptGradientEmbedding:
        """The same embedding, sharing its weight."""
        kept = cls(*embedding.weight.shape, padding_idx=embedding.padding_idx, _weight=embedding.weight.detach())
        kept.weight, kept.buffer = embedding.weight, None
        return kept.train(embedding.training)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:  # [...] -> [..., D]
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(ids)
        vectors = F.embedding(ids, self.weight.detach()).requires_grad_()
        vectors.register_hook(partial(self._add_gradient, ids))
        return vectors

    def _add_gradient(self, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        if self.weight.grad is None:  # the first of this update
            self.buffer = torch.zeros_like(self.weight) if self.buffer is None else self.buffer.zero_()
            self.weight.grad = self.buffer
        if self.padding_idx is not None:
            gradient = gradient.masked_fill((ids == self.padding_idx).unsqueeze(-1), 0.0)
        self.weight.grad.index_add_(0, ids.flatten(), gradient.flatten(0, -2).to(self.weight.dtype))


def _register_attention() -> None:
    """Make attention with `fast_dropout` known to transformers as "tlib"."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register("tlib", _attention)
    AttentionMaskInterface.register("tlib", eager_mask)


def _attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_):
    """softmax(q k^T scaling + mask) v with dropout on the weights; q, k, v [B, H, T, d], context [B, T, H, d]."""
    scores = query @ key.transpose(2, 3) * (query.size(-1) ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1)
    if module.training and dropout:
        weights = fast_dropout(weights, dropout)
    return (weights @ value).transpose(1, 2).contiguous(), weights
