"""Checkpoints of `tlib.training.fit`: written atomically, checked before use, resumed bit for bit.

A checkpoint is one safetensors file: weights, optimizer moments, random states and the caller's own state as tensors,
everything else as JSON in its header. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn


class CheckpointError(RuntimeError):
    """A checkpoint file is damaged or belongs to another run."""


class Checkpoint:
    """The checkpoint file of a training loop (`tlib.training._Loop`) and of the caller's own `state`."""

    def __init__(self, path: Path, loop: Any, state: Any):
        self.path, self.loop, self.state = path, loop, state

    def identify(self, batch: Any, settings: dict[str, Any]) -> None:
        """Take down what a checkpoint must share with this run, each thing under the name an error gives it."""
        loop = self.loop
        groups = [{k: v for k, v in g.items() if k != "params"} for g in loop.optimizer.param_groups]
        sizes = [[tuple(p.shape) for p in g["params"]] for g in loop.optimizer.param_groups]
        layers = {_digest(_code(type(module).forward)) for module in loop.model.modules()}
        self.identity = settings | {
            "initial weights": _digest(weights(loop.model)),
            "data": _digest(batch),
            "optimizer": _digest([type(loop.optimizer).__name__, groups, sizes]),
            "schedule": [loop.schedule(i, 10) for i in range(10)] if loop.schedule else None,
            "code of the model": _digest(sorted(layers)),
            "code of the loss": _digest(_code(loop.loss_fn)),
            "clip": loop.clip,
            "precision": loop.precision,
            "processes": loop.accelerator.num_processes,
        }

    def exists(self) -> bool:
        """Read the file if there is one, and refuse it if it is damaged or another run's."""
        if not self.path.exists():
            return False
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata()
                self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if metadata["digest"] != _digest([self.tensors, metadata["fit"]]):
                raise ValueError("its contents are not those that were written")
            self.header = json.loads(metadata["fit"])
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self.path} is not a whole checkpoint of tlib.training.fit ({error}): delete it to start over."
            ) from error
        mine, theirs = json.loads(json.dumps(self.identity)), self.header["identity"]
        if differing := [name for name in mine if mine[name] != theirs.get(name)]:
            raise CheckpointError(
                f"{self.path} belongs to another run, with other {', '.join(differing)}. Give this run another "
                "checkpoint path, or delete the file to start over."
            )
        return True

    @property
    def step(self) -> int:
        """Updates done when the file was written."""
        return self.header["step"]

    def save(self) -> None:
        """Write the run so far; a kill at any moment leaves the old file or the new one, never a part."""
        loop = self.loop
        loop.fetch()  # raises before weights that are not numbers are kept
        loop.history.seconds = time.perf_counter() - loop.started
        moments = loop.optimizer.state_dict()["state"]
        extra = self.state.state_dict() if self.state is not None else {}
        parts = {"model": weights(loop.model), "random": self._random_states(), "state": extra}
        parts |= {f"optimizer/{i}": moment for i, moment in moments.items()}
        flat = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        tensors = {name: value.detach().cpu().clone() for name, value in flat.items() if torch.is_tensor(value)}
        header = {
            "identity": self.identity,
            "step": loop.step,
            "history": loop.history.to_dict(),
            "scaler": loop.scaler.state_dict(),
            "values": {name: value for name, value in flat.items() if not torch.is_tensor(value)},
        }
        if loop.accelerator.is_main_process:
            _write(self.path, {name: tensor.contiguous() for name, tensor in tensors.items()}, json.dumps(header))

    def load(self) -> None:
        """Put weights, optimizer, random states, history and the caller's state back to where the file left them."""
        loop, flat = self.loop, self.tensors | self.header["values"]
        with torch.no_grad():
            for name, tensor in weights(loop.model).items():
                tensor.copy_(flat[f"model/{name}"])
        moments: dict[int, dict[str, Any]] = {}
        for key in (key for key in flat if key.startswith("optimizer/")):
            _, i, name = key.split("/", 2)
            moments.setdefault(int(i), {})[name] = flat[key]
        loop.optimizer.load_state_dict(loop.optimizer.state_dict() | {"state": moments})
        loop.scaler.load_state_dict(self.header["scaler"])
        if self.state is not None:
            extra = {key.removeprefix("state/"): value for key, value in flat.items() if key.startswith("state/")}
            self.state.load_state_dict({k: v.to(loop.device) if torch.is_tensor(v) else v for k, v in extra.items()})
        loop.history, loop.step = type(loop.history)(**self.header["history"]), self.step
        process = loop.accelerator.process_index  # cloned below: torch reads a view from the start of its storage
        torch.set_rng_state(flat["random/cpu"][process].clone())
        if loop.device.type == "cuda":
            torch.cuda.set_rng_state(flat["random/cuda"][process].clone())

    def _random_states(self) -> dict[str, torch.Tensor]:
        """State of each kind of random generator in every process, [processes, bytes]."""
        states = {"cpu": torch.get_rng_state()}
        if self.loop.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state()
        return {kind: self.loop.accelerator.gather(s[None].to(self.loop.device)) for kind, s in states.items()}


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters (tied ones once) and buffers, the non-persistent included."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _write(path: Path, tensors: dict[str, torch.Tensor], header: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, part, {"fit": header, "digest": _digest([tensors, header])})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _digest(value: Any) -> str:
    """SHA-256 of anything made of tensors, lists, dicts (in order of their keys) and plain values."""
    digest = hashlib.sha256()

    def add(item: Any) -> None:
        if torch.is_tensor(item):
            digest.update(repr((item.dtype, tuple(item.shape))).encode())
            digest.update(item.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        elif isinstance(item, dict):
            add(sorted(item.items(), key=lambda pair: str(pair[0])))
        elif isinstance(item, list | tuple):
            for part in item:
                add(part)
        elif isinstance(item, set | frozenset):
            add(sorted(map(repr, item)))
        else:
            digest.update(repr(item).encode() + b"\0")

    add(value)
    return digest.hexdigest()


def _code(function: Callable) -> list[Any]:
    """A function's instructions, without its comments, file name and line numbers."""

    def parts(code: CodeType) -> list[Any]:
        return [code.co_code, code.co_names, [parts(c) if isinstance(c, CodeType) else c for c in code.co_consts]]

    function = getattr(function, "func", function)  # what a functools.partial calls
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return parts(code) if code else [type(function).__qualname__]
