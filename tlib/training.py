"""One training loop for every chapter, on 🤗 Accelerate: `fit`.

It gives each chapter mixed precision, a learning rate per update, gradient clipping, gradual unfreezing, checkpoints
that resume bit for bit, a progress bar and several processes. The model is any module, the loss any function of it.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, find_batch_size, send_to_device, slice_tensors, synchronize_rng_states
from torch import nn
from tqdm.auto import tqdm

from tlib.resume import Checkpoint, weights

FETCH_EVERY = 50  # updates between two looks at the losses on a GPU, where each look waits for the device
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is not a number, or nothing is left to train."""


@dataclass
class History:
    """What happened in one training run.

    Attributes:
        losses: training loss of each update.
        lrs: largest learning rate among the parameter groups at each update.
        scores: what `evaluate` returned after each epoch (empty without it).
        epoch_ends: number of updates done at the end of each epoch.
        seconds: wall-clock time of training and evaluation, summed over resumed parts.
    """

    losses: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    scores: list[Any] = field(default_factory=list)
    epoch_ends: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def linear_schedule(warmup: float = 0.1) -> Callable[[int, int], float]:
    """Learning-rate multiplier that rises linearly to 1 over the first `warmup` share of updates, then falls to 0."""
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is the share of updates in which the rate rises, from 0 to below 1, not {warmup}.")

    def multiplier(step: int, total_steps: int) -> float:
        rise = warmup * total_steps
        return min((step + 1) / (rise + 1), (total_steps - step) / (total_steps - rise))

    return multiplier


def best_precision(device: torch.device) -> str:
    """The fastest safe arithmetic of a device: "bf16" where it is native, "fp16" on older GPUs, else "fp32"."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    cpu = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if device.type == "cpu" and (cpu.get("avx512_bf16") or cpu.get("amx_bf16")) else "fp32"


def autocast(device: torch.device, precision: str | None = None) -> AbstractContextManager:
    """Mixed precision on a device: "fp32" (off), "bf16" or "fp16", by default `best_precision`."""
    dtype = PRECISIONS[precision or best_precision(device)]
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def fit(
    model: nn.Module,
    loss_fn: Callable[[nn.Module, Any], torch.Tensor],
    batches: Callable[[int], Sequence[Any]],
    *,
    optimizer: torch.optim.Optimizer,
    epochs: int = 1,
    schedule: Callable[[int, int], float] | None = None,
    clip: float | None = None,
    on_epoch: Callable[[int], None] | None = None,
    checkpoint: str | Path | None = None,
    save_every: int = 200,
    state: Any = None,
    evaluate: Callable[[], Any] | None = None,
    precision: str | None = None,
    description: str = "",
    progress: bool = True,
) -> History:
    """Train `model` in place, on the device it is on, and leave it in evaluation mode.

    Args:
        loss_fn: `loss_fn(model, batch)` gives a scalar, a mean over the batch's rows (its first dimension).
        batches: `batches(epoch)` gives that epoch's batches: a sequence, the same each time that epoch is asked for.
            A batch is a tensor, or a tuple, list or dict of tensors that share their first dimension.
        optimizer: over the parameters that may train. Those without gradient are left alone bit for bit, weight decay
            included. Each group's learning rate when `fit` starts is its base rate, and is put back at the end.
        schedule: `schedule(step, total_steps)` multiplies every group's base rate; step counts from 0.
        clip: largest norm of all gradients together.
        on_epoch: called with the epoch's number before it starts, for instance to unfreeze a layer with
            `requires_grad_(True)`; called again on resuming for the epochs already begun.
        checkpoint: file (safetensors) written atomically every `save_every` updates and after each epoch. If it is
            there, training goes on from it and ends with the same bits as a run that was never stopped; if training
            was complete, the model is read from it.
        state: object whose `state_dict()` and `load_state_dict()` (tensors and plain JSON values) go into the
            checkpoint, for instance a hidden state carried from batch to batch.
        evaluate: called after each epoch; what it returns (plain JSON values) is kept in `History.scores`.
        precision: "fp32", "bf16" or "fp16"; by default `best_precision`.
        description, progress: text beside the progress bar, and whether to show one; it never shows under TLIB_QUIET,
            in tests, or when nobody watches.

    Under `torchrun` or `accelerate launch` every process passes the same batches and trains on its share of each one's
    rows, so that the losses are those of one process.

    Raises:
        TrainingError: the loss became infinite or NaN, or no parameter of the optimizer requires a gradient.
        CheckpointError: (of `tlib.resume`) the checkpoint is damaged, or of other weights, data, code or settings.
    """
    loop = _Loop(model, loss_fn, optimizer, schedule, clip, precision)
    lengths = [len(batches(epoch)) for epoch in range(epochs)]
    if not lengths or min(lengths) == 0:
        raise ValueError(f"Each epoch needs at least one batch, but {epochs} epochs have {lengths}.")
    loop.total_steps = sum(lengths)
    first = done = 0  # the epoch to start in, and the batches of it already done

    def start_epoch(epoch: int) -> None:
        model.train()
        if on_epoch:
            on_epoch(epoch)

    if checkpoint is not None:
        saved = Checkpoint(Path(checkpoint), loop, state)
        saved.identify(batches(0)[0], {"epochs": epochs, "batches per epoch": lengths})
        if saved.exists():
            done = saved.step
            while first < epochs and done >= lengths[first]:
                first, done = first + 1, done - lengths[first]
            for epoch in range(first + (done > 0)):  # the model takes the shape it had, then its values come back
                start_epoch(epoch)
            saved.load()
    with _bar(loop, description, progress) as bar, loop.running():
        for epoch in range(first, epochs):
            if not done:
                start_epoch(epoch)
            if not any(p.requires_grad for p in loop.parameters):
                raise TrainingError("No parameter of the optimizer requires a gradient: unfreeze one in on_epoch.")
            epoch_batches = batches(epoch)
            for i in range(done, lengths[epoch]):
                loop.update(epoch_batches[i])
                bar.update()
                if checkpoint is not None and loop.step % save_every == 0 and i + 1 < lengths[epoch]:
                    saved.save()
            done = 0
            loop.fetch()
            if evaluate:
                with torch.no_grad():
                    loop.history.scores.append(evaluate())
            loop.history.epoch_ends.append(loop.step)
            if checkpoint is not None:
                saved.save()
    return loop.history


def check_devices(model_fn: Callable[[], nn.Module], loss_fn: Callable, batch_fn: Callable[[], Any]) -> None:
    """Prove without a GPU that forward, loss and backward keep to one device: run them on fake tensors on "meta".

    Args:
        model_fn: builds the model; it is built with "meta" as the default device, as `.to(device)` would leave it.
        loss_fn: as for `fit`; it runs with the CPU as the default device, as on a machine with a GPU.
        batch_fn: makes one batch, which is moved to the device as `fit` moves it.

    Raises:
        RuntimeError: a tensor was made on the CPU and met one of the model's; torch names the operation.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    batch = send_to_device(batch_fn(), torch.device("meta"))
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()):  # a shape may depend on the data
        with torch.device("meta"):
            model = model_fn()
        loss_fn(model, batch).backward()


class _Loop:
    """The state of one run of `fit`: model, optimizer, history, and the arithmetic of one update."""

    def __init__(self, model, loss_fn, optimizer, schedule, clip, precision):
        self.accelerator = Accelerator()
        self.several = self.accelerator.num_processes > 1
        if self.several:
            model.to(self.accelerator.device)
            broadcast([tensor.detach() for tensor in weights(model).values()])  # replicas must start equal
        self.device = next(model.parameters()).device
        self.precision = precision or best_precision(self.device)
        self.autocast = autocast(self.device, self.precision)
        # Only half precision needs its gradients scaled, lest small ones vanish; disabled, the scaler does nothing.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.model, self.loss_fn, self.optimizer, self.schedule, self.clip = model, loss_fn, optimizer, schedule, clip
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        self.history, self.pending = History(), []
        self.step = self.total_steps = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around the whole training: the clock, noise of its own for each process, base rates put back after it."""
        self.started = time.perf_counter() - self.history.seconds
        self.optimizer.zero_grad()
        if self.several and self.step == 0 and not self.accelerator.is_main_process:
            torch.manual_seed(torch.initial_seed() + self.accelerator.process_index)  # else all drop the same units
        try:
            yield
        finally:
            self.history.seconds = time.perf_counter() - self.started
            self.optimizer.zero_grad()
            for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = lr
            self.model.eval()
        if self.several:
            synchronize_rng_states(["torch"])

    def update(self, batch: Any) -> None:
        """One step of the optimizer."""
        factor = self.schedule(self.step, self.total_steps) if self.schedule else 1.0
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr * factor
        batch, share = self.shard(send_to_device(batch, self.device))
        with self.autocast:
            loss = self.loss_fn(self.model, batch) * share
        self.scaler.scale(loss).backward()
        if self.several:
            self.average_gradients()
        if self.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.history.lrs.append(max(group["lr"] for group in self.optimizer.param_groups))
        self.pending.append(loss.detach().float())
        self.step += 1
        if self.device.type == "cpu" or len(self.pending) >= FETCH_EVERY:
            self.fetch()

    def shard(self, batch: Any) -> tuple[Any, float]:
        """This process's rows of a batch, and the weight that makes the mean over processes the mean over all rows."""
        count, index = self.accelerator.num_processes, self.accelerator.process_index
        if count == 1:
            return batch, 1.0
        rows = find_batch_size(batch)
        if rows < count:
            raise ValueError(f"A batch of {rows} rows cannot be shared by {count} processes: use larger batches.")
        first, last = rows * index // count, rows * (index + 1) // count
        return slice_tensors(batch, slice(first, last)), (last - first) * count / rows

    def average_gradients(self) -> None:
        """Mean over processes, in one message.

        Not DistributedDataParallel: it fixes which parameters train, which gradual unfreezing changes, and sees only
        calls of the model's own forward, while a loss may use any part of it."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        flat = self.accelerator.reduce(torch.cat([grad.flatten() for grad in grads]), "mean")
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view_as(grad))

    def fetch(self) -> None:
        """Move the losses since the last look into the history, and stop if one is not a number."""
        if not self.pending:
            return
        losses = torch.stack(self.pending)
        losses = (self.accelerator.reduce(losses, "mean") if self.several else losses).tolist()
        self.pending.clear()
        for step, loss in enumerate(losses, start=self.step - len(losses)):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The training loss became {loss} at update {step} (counting from 0) of {self.total_steps}: lower "
                    f"the learning rate ({self.history.lrs[step]:.3g} there), clip gradients (clip=1.0), or train in "
                    'full precision (precision="fp32"); if it is update 0, look for empty or unlabelled rows.'
                )
        self.history.losses += losses


def _bar(loop: _Loop, description: str, progress: bool) -> tqdm:
    """A progress bar that leaves no trace when done, and is not drawn where nobody would see it move."""
    unseen = "TLIB_QUIET" in os.environ or "PYTEST_CURRENT_TEST" in os.environ
    watched = "ipykernel" in sys.modules or sys.stderr.isatty()
    show = progress and watched and not unseen and loop.accelerator.is_main_process
    return tqdm(total=loop.total_steps, initial=loop.step, desc=description, leave=False, disable=not show)
