"""Checkpoints of :func:`tlib.training.fit`: written atomically, checked before use, resumed bit for bit.

A checkpoint is one safetensors file: weights, optimizer moments, random states and the caller's own state as tensors,
everything else as JSON in its header. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn


class CheckpointError(RuntimeError):
    """A checkpoint file is damaged or belongs to another run."""


class Checkpoint:
    """Reads and writes the checkpoint of a loop: one safetensors file with a JSON header, replaced atomically."""

    def __init__(self, path: Path, loop: Any, state: Any):
        self.path, self.loop, self.state = path, loop, state

    def identify(self, batch: Any, settings: dict[str, Any]) -> None:
        """What must be the same for a checkpoint to be this run's, each named for the error message."""
        loop = self.loop
        groups = [{k: v for k, v in g.items() if k != "params"} for g in loop.optimizer.param_groups]
        sizes = [[tuple(p.shape) for p in g["params"]] for g in loop.optimizer.param_groups]
        codes = {_digest(_code(type(module).forward.__code__)) for module in loop.model.modules()}
        self.identity = settings | {
            "initial weights": _digest(_weights(loop.model)),
            "data": _digest(batch),
            "optimizer": _digest(repr((type(loop.optimizer).__name__, groups, sizes))),
            "schedule": [loop.schedule(i, 10) for i in range(10)] if loop.schedule else None,
            "code of the model": _digest(sorted(codes)),
            "code of the loss": _digest(
                _code(getattr(loop.loss_fn, "__code__", None) or type(loop.loss_fn).__call__.__code__)
            ),
            "clip": loop.clip,
            "precision": loop.precision,
            "processes": loop.accelerator.num_processes,
        }

    def steps_done(self) -> int:
        """Updates already in the file, 0 if there is none; refuses a damaged file and another run's."""
        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                self.header = json.loads(file.metadata()["tlib"])
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self.path} is not a whole checkpoint of tlib.training.fit ({error}): delete it to start over."
            ) from error
        mine = json.loads(json.dumps(self.identity))
        other = [name for name in mine if mine[name] != self.header["identity"].get(name)]
        if other:
            raise CheckpointError(
                f"{self.path} belongs to another run: its {', '.join(other)} differ from this one's. Give this run "
                "another checkpoint path, or delete the file to start over."
            )
        return self.header["step"]

    def save(self) -> None:
        """Write the run so far; a kill at any moment leaves the old file or the new one, never a part."""
        loop = self.loop
        loop.fetch()  # raises before weights that are not numbers are kept
        loop.history.seconds = time.perf_counter() - loop.started
        tensors = {f"model/{name}": tensor for name, tensor in _weights(loop.model).items()}
        tensors |= {f"rng/{kind}": states for kind, states in loop.random_states().items()}
        slots = loop.optimizer.state_dict()["state"]
        tensors |= {f"optimizer/{i}/{k}": v for i, slot in slots.items() for k, v in slot.items() if torch.is_tensor(v)}
        extra = self.state.state_dict() if self.state is not None else {}
        tensors |= {f"state/{name}": value for name, value in extra.items() if torch.is_tensor(value)}
        scaler = loop.accelerator.scaler
        header = {
            "identity": self.identity,
            "step": loop.step,
            "history": loop.history.to_dict(),
            "optimizer": {i: {k: v for k, v in slot.items() if not torch.is_tensor(v)} for i, slot in slots.items()},
            "scaler": scaler.state_dict() if scaler is not None else None,
            "state": {name: value for name, value in extra.items() if not torch.is_tensor(value)},
        }
        if loop.accelerator.is_main_process:
            tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
            _write_atomically(self.path, tensors, {"tlib": json.dumps(header)})

    def load(self) -> None:
        """Put weights, optimizer, random states, history and the caller's state back to where the file left them."""
        loop, header = self.loop, self.header
        tensors = load_file(self.path, device=str(loop.device))
        with torch.no_grad():
            for name, tensor in _weights(loop.model).items():
                tensor.copy_(tensors[f"model/{name}"])
        slots = {int(i): dict(numbers) for i, numbers in header["optimizer"].items()}
        extra = header["state"]
        for name, tensor in tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "optimizer":
                i, _, slot = rest.partition("/")
                slots[int(i)][slot] = tensor
            elif kind == "state":
                extra[rest] = tensor
        loop.optimizer.load_state_dict(loop.optimizer.state_dict() | {"state": slots})
        if self.state is not None:
            self.state.load_state_dict(extra)
        if header["scaler"]:
            loop.accelerator.scaler.load_state_dict(header["scaler"])
        loop.history, loop.step = type(loop.history)(**header["history"]), header["step"]
        loop.set_random_states({kind: tensors[f"rng/{kind}"].cpu() for kind in loop.random_states()})


def _write_atomically(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, part, metadata)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters (tied ones once) and buffers, the non-persistent included."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _digest(value: Any) -> str:
    """Short SHA-256 of anything made of tensors, lists, dicts and plain values."""
    digest = hashlib.sha256()

    def add(item: Any) -> None:
        if torch.is_tensor(item):
            digest.update(repr((item.dtype, tuple(item.shape))).encode())
            digest.update(item.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        elif isinstance(item, dict):
            add(list(item.items()))
        elif isinstance(item, list | tuple):
            for part in item:
                add(part)
        else:
            digest.update(repr(item).encode())

    add(value)
    return digest.hexdigest()[:16]


def _code(code: CodeType) -> list[Any]:
    """A function's instructions without its comments, file name and line numbers."""
    return [code.co_code.hex(), code.co_names, [_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]]
