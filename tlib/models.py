"""Pretrained encoders by name and profile, their from-scratch twins, and the checkpoints that the project ships."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tlib import data, store

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Encoder: the hub's id and revision of the same weights. At laptop scale the files are an entry of `tlib.data`.
ENCODERS = {"minilm": ("sentence-transformers/all-MiniLM-L6-v2", "c9745ed1d9f207416be6d2e6f8de32d1f16199bf")}

CHECKPOINTS = Path(__file__).with_name("checkpoints")
SCALE, WORTH_PACKING = "/scale", 32  # of packed weights: the suffix of their scales, the shortest row that is packed


def encoder(name: str, profile: str | None = None) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """A pretrained encoder in evaluation mode, and its tokenizer.

    "minilm" is a six-layer BERT of width 384 (22.7M parameters) that was tuned contrastively on sentence pairs after
    its pretraining, and has no masked-word head: say so wherever it stands for BERT.

    Args:
        name: a key of `ENCODERS`.
        profile: "laptop" reads the verified archive of `tlib.data`, without network once it is cached; "colab" and
            "paper" ask the hub. Default: `TLIB_PROFILE`, else "laptop".

    Raises:
        ValueError: there is no such encoder.
        tlib.data.DataError: the archive cannot be had.
    """
    from transformers import AutoModel, AutoTokenizer

    if name not in ENCODERS:
        raise ValueError(f"no encoder is called {name!r}; there are {', '.join(ENCODERS)}")
    local = (profile or os.environ.get("TLIB_PROFILE", "laptop")) == "laptop"
    place, revision = (data.fetch_dir(name), None) if local else ENCODERS[name]
    settings = {"revision": revision, "local_files_only": local, "trust_remote_code": False}
    with _no_progress_bar():
        model = AutoModel.from_pretrained(place, use_safetensors=True, **settings)
    return model.eval(), AutoTokenizer.from_pretrained(place, **settings)


def twin(config: "PretrainedConfig", seed: int) -> "PreTrainedModel":
    """The same architecture with random weights, in evaluation mode: the "from scratch" arm of a comparison.

    Built from the config alone (re-initialising a loaded model leaves its pretrained weights in place), with weights
    that depend on `seed` only; the caller's random state is untouched.
    """
    import torch
    from transformers import AutoModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModel.from_config(config).eval()


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Transformers draws a bar even for files at hand, which a notebook would keep for good."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def checkpoint(name: str, folder: Path | None = None) -> tuple[dict[str, "torch.Tensor"], dict]:
    """Weights (in full precision, as `unpack` gives them) and card of a shipped checkpoint, or of one in `folder`.

    Raises:
        FileNotFoundError: there is no such checkpoint; `tlib pretrain` makes it.
        ValueError: the weights are not those of the card.
    """
    from safetensors.torch import load_file

    folder = folder or CHECKPOINTS
    weights, card_path = folder / f"{name}.safetensors", folder / f"{name}.json"
    if not (weights.is_file() and card_path.is_file()):
        shipped = ", ".join(sorted(path.stem for path in folder.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(
            f"no checkpoint is called {name!r}; shipped: {shipped}. `tlib pretrain {name}` makes one"
        )
    card = json.loads(card_path.read_text(encoding="utf-8"))
    if (actual := store.sha256(weights)) != card["sha256"]:
        raise ValueError(f"{weights} has SHA-256 {actual}, its card says {card['sha256']}: install tlib anew")
    return unpack(load_file(weights)), card


def pack(weights: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Weights as they ship: a quarter of their size.

    Along the last dimension w of a matrix, entries become round(w / s), whole numbers of 8 bits, with s = max|w| / 127
    kept beside them, so none moves by more than s / 2. What has fewer than 32 entries there, or one dimension, is kept
    in half precision.
    """
    import torch

    packed = {}
    for name, tensor in weights.items():
        if tensor.dim() > 1 and tensor.size(-1) >= WORTH_PACKING:
            scale = (tensor.float().abs().amax(dim=-1, keepdim=True) / 127).clamp(min=torch.finfo().tiny)
            packed[name] = (tensor.float() / scale).round().to(torch.int8).contiguous()
            packed[name + SCALE] = scale
        else:
            packed[name] = tensor.to(torch.float16).contiguous()
    return packed


def unpack(packed: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """The weights that `pack` was given, in full precision, each as near as packing left it."""
    return {
        name: tensor.float() * packed.get(name + SCALE, 1.0)
        for name, tensor in packed.items()
        if not name.endswith(SCALE)
    }


def tokenizer(name: str) -> "Tokenizer":
    """A tokenizer that ships with tlib, such as "english_8k": 8,000 uncased word pieces of general English.

    Raises:
        FileNotFoundError: no such tokenizer ships.
    """
    from tokenizers import Tokenizer

    path = CHECKPOINTS / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no tokenizer is called {name!r}: a checkpoint's card names its own")
    return Tokenizer.from_file(str(path))
