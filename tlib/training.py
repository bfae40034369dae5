"""One training loop for every chapter, on 🤗 Accelerate: ``fit``.

It gives each chapter mixed precision, learning-rate schedules per update, gradient clipping, gradual unfreezing,
checkpoints that resume bit for bit, a quiet progress bar and more than one process, and stays out of the method's way:
the model is any module, the loss any function of it, a batch anything made of tensors.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import find_batch_size, send_to_device, slice_tensors, synchronize_rng_states
from torch import nn
from tqdm.auto import tqdm

from tlib.resume import Checkpoint

FETCH_EVERY = 50  # updates between two looks at the losses on a GPU, where each look waits for the device


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is not a number, or nothing is left to train."""


@dataclass
class History:
    """What happened in one training run.

    Attributes:
        losses: training loss of each update.
        lrs: largest learning rate among the parameter groups at each update.
        scores: what ``evaluate`` returned after each epoch (empty without it).
        epoch_ends: number of updates done at the end of each epoch.
        seconds: wall-clock time of training and evaluation, summed over resumed parts.
    """

    losses: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    scores: list[Any] = field(default_factory=list)
    epoch_ends: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, ready for JSON."""
        return asdict(self)


def linear_schedule(warmup: float = 0.1) -> Callable[[int, int], float]:
    """Learning-rate multiplier that rises linearly over the first ``warmup`` share of updates, then falls to zero."""

    def multiplier(step: int, total_steps: int) -> float:
        rise = warmup * total_steps
        return (step + 1) / rise if step + 1 < rise else (total_steps - step) / max(1.0, total_steps - rise)

    return multiplier


def best_precision(device: torch.device) -> str:
    """The fastest safe arithmetic of a device: "bf16" where it is native, "fp16" on older GPUs, else "fp32"."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    cpu = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if device.type == "cpu" and (cpu.get("avx512_bf16") or cpu.get("amx_bf16")) else "fp32"


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
    """Train ``model`` in place, on the device it is on, and leave it in evaluation mode.

    Args:
        loss_fn: ``loss_fn(model, batch)`` gives a scalar, a mean over the batch's rows (its first dimension).
        batches: ``batches(epoch)`` gives that epoch's batches: a sequence, the same each time that epoch is asked for.
            A batch is a tensor, or a tuple, list or dict of tensors that share their first dimension.
        optimizer: over the parameters that may train. Those without gradient are left alone bit for bit, weight decay
            included. Each group's learning rate when ``fit`` starts is its base rate, and is put back at the end.
        schedule: ``schedule(step, total_steps)`` multiplies every group's base rate; step counts from 0.
        clip: largest norm of all gradients together.
        on_epoch: called with the epoch's number before it starts, for instance to unfreeze a layer with
            ``requires_grad_(True)``. On resuming it is called again for the epochs already begun.
        checkpoint: file (safetensors) written atomically every ``save_every`` updates and after each epoch. If it is
            there, training goes on from it and ends with the same bits as a run that was never stopped.
        state: object whose ``state_dict()`` and ``load_state_dict()`` (tensors and plain JSON values) go into the
            checkpoint, for instance a hidden state carried from batch to batch.
        evaluate: called after each epoch; what it returns (plain JSON values) is kept in ``History.scores``.
        precision: "fp32", "bf16" or "fp16"; by default :func:`best_precision`.
        description: text beside the progress bar.
        progress: show a bar; none is ever shown under TLIB_QUIET, in tests, or when nobody watches.

    Under ``torchrun`` or ``accelerate launch`` every process passes the same batches and trains on its share of each
    one's rows, so that the losses are those of one process.

    Raises:
        TrainingError: the loss became infinite or NaN, or no parameter of the optimizer requires a gradient.
        CheckpointError: the checkpoint is damaged, or was made with other weights, data, code or settings.
    """
    loop = _Loop(model, loss_fn, optimizer, schedule, clip, precision)
    lengths = [len(batches(epoch)) for epoch in range(epochs)]
    if not lengths or min(lengths) == 0:
        raise ValueError(f"Each epoch needs at least one batch, but {epochs} epochs have {lengths}.")
    loop.total_steps = sum(lengths)
    saved = Checkpoint(Path(checkpoint), loop, state) if checkpoint is not None else None
    if saved:
        saved.identify(batches(0)[0], {"epochs": epochs, "batches per epoch": lengths})
    start = saved.steps_done() if saved else 0
    first, done = _locate(start, lengths)
    if start:
        for epoch in range(first + (done > 0)):  # the model takes the shape it had, then its values come back
            if on_epoch:
                on_epoch(epoch)
        saved.load()
    with _bar(loop, description, progress) as bar, loop.running():
        for epoch in range(first, epochs):
            model.train()
            if on_epoch and not done:
                on_epoch(epoch)
            loop.check_trainable()
            epoch_batches = batches(epoch)
            for i in range(done, lengths[epoch]):
                loop.update(epoch_batches[i])
                bar.update()
                if saved and loop.step % save_every == 0 and i + 1 < lengths[epoch]:
                    saved.save()
            done = 0
            loop.fetch()
            if evaluate:
                with torch.no_grad():
                    loop.history.scores.append(evaluate())
            loop.history.epoch_ends.append(loop.step)
            if saved:
                saved.save()
    return loop.history


def check_devices(model_fn: Callable[[], nn.Module], loss_fn: Callable, batch_fn: Callable[[], Any]) -> None:
    """Prove without a GPU that forward, loss and backward keep to one device: run them on fake tensors on "meta".

    Args:
        model_fn: builds the model; it is built with "meta" as the default device, as ``.to(device)`` would leave it.
        loss_fn: as for :func:`fit`; run with the CPU as the default device, as on a GPU machine.
        batch_fn: makes one batch, which is moved to the device as :func:`fit` moves it.

    Raises:
        RuntimeError: a tensor was made on the CPU and met one of the model's; torch names the operation.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    batch = send_to_device(batch_fn(), torch.device("meta"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("meta"):
            model = model_fn()
        loss_fn(model, batch).backward()


class _Loop:
    """The state of one run of ``fit``: model, optimizer, history, and the arithmetic of one update."""

    def __init__(self, model, loss_fn, optimizer, schedule, clip, precision):
        self.device = next(model.parameters()).device
        self.precision = precision or best_precision(self.device)
        alone = not torch.distributed.is_initialized()
        AcceleratorState._reset_state(reset_partial_state=alone)  # else the first fit's precision would bind all
        mixed = "no" if self.precision == "fp32" else self.precision
        self.accelerator = Accelerator(cpu=self.device.type == "cpu", mixed_precision=mixed)
        self.several = self.accelerator.num_processes > 1
        self.model, self.loss_fn, self.optimizer, self.schedule, self.clip = model, loss_fn, optimizer, schedule, clip
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        self.history, self.pending = History(), []
        self.step = self.total_steps = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around the whole training: the clock, a noise of its own for each process, base rates put back after it."""
        self.started = time.perf_counter() - self.history.seconds
        self.optimizer.zero_grad()
        if self.several and self.step == 0 and self.accelerator.process_index:  # else each would drop the same units
            torch.manual_seed(torch.initial_seed() + self.accelerator.process_index)
        try:
            yield
        finally:
            self.history.seconds = time.perf_counter() - self.started
            for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = lr
            self.optimizer.zero_grad()
            self.model.eval()
        if self.several:
            synchronize_rng_states(["torch"])

    def check_trainable(self) -> None:
        if not any(p.requires_grad for p in self.parameters):
            raise TrainingError(
                "No parameter of the optimizer requires a gradient: unfreeze one (requires_grad_(True)) before "
                "fit, or in on_epoch."
            )

    def update(self, batch: Any) -> None:
        """One step of the optimizer."""
        if self.schedule:
            factor = self.schedule(self.step, self.total_steps)
            for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = lr * factor
        batch, share = self.shard(send_to_device(batch, self.device))
        with self.accelerator.autocast():
            loss = self.loss_fn(self.model, batch)
        loss = loss if share == 1 else loss * share
        scaler = self.accelerator.scaler  # only at fp16, whose small gradients would vanish unscaled
        (scaler.scale(loss) if scaler else loss).backward()
        if self.several:
            self.average_gradients()
        if self.clip is not None:
            if scaler:
                scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if scaler:
            scaler.step(self.optimizer)
            scaler.update()
        else:
            self.optimizer.step()
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
            return batch, 1
        rows = find_batch_size(batch)
        if rows < count:
            raise ValueError(f"A batch of {rows} rows cannot be shared by {count} processes: use larger batches.")
        first, last = rows * index // count, rows * (index + 1) // count
        return slice_tensors(batch, slice(first, last)), (last - first) * count / rows

    def average_gradients(self) -> None:
        """Mean over processes, in one message.

        Not DistributedDataParallel: it fixes at wrapping which parameters train, which gradual unfreezing changes, and
        sees only calls of the model's own forward, while a loss may use any part of it.
        """
        grads = [p.grad for p in self.parameters if p.grad is not None]
        flat = self.accelerator.reduce(torch.cat([g.flatten() for g in grads]), "mean")
        for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view_as(grad))

    def random_states(self) -> dict[str, torch.Tensor]:
        """State of each kind of random generator in every process, [processes, bytes]."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state()
        return {kind: self.accelerator.gather(s[None].to(self.device)) for kind, s in states.items()}

    def set_random_states(self, states: dict[str, torch.Tensor]) -> None:
        """Put this process's generators back to what :meth:`random_states` saw."""
        for kind, per_process in states.items():
            own = per_process[self.accelerator.process_index]
            torch.set_rng_state(own) if kind == "cpu" else torch.cuda.set_rng_state(own)

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


def _locate(step: int, lengths: list[int]) -> tuple[int, int]:
    """Epoch and batch at which update ``step`` falls, in epochs of these lengths."""
    epoch = 0
    while epoch < len(lengths) and step >= lengths[epoch]:
        step -= lengths[epoch]
        epoch += 1
    return epoch, step


def _bar(loop: _Loop, description: str, progress: bool) -> Any:
    """A progress bar that leaves no trace when done, and is not drawn where nobody would see it move."""
    notebook = "ipykernel" in sys.modules
    unseen = os.environ.get("TLIB_QUIET") or "PYTEST_CURRENT_TEST" in os.environ
    hidden = not progress or unseen or not (notebook or sys.stderr.isatty()) or not loop.accelerator.is_main_process
    return tqdm(total=loop.total_steps, initial=loop.step, desc=description, leave=False, disable=bool(hidden))
