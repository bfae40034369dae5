"""A small training job, the same in every process: the tests import it, and run it to be killed or under torchrun.

`python training_job.py killed CHECKPOINT` trains and kills itself (SIGKILL) in the middle of its second epoch;
`torchrun --nproc_per_node 2 training_job.py shared FOLDER` trains in two processes and writes what they saw.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from tlib.training import History, fit, linear_schedule

BATCHES = 12  # per epoch; the last has 7 rows, the others 8
EPOCHS = 3


class Interruption(Exception):
    """Stands for whatever ends a run early."""


class Stopping(list):
    """Batches that end the run, in one way or another, when the given one is asked for."""

    def __init__(self, batches, at, how):
        super().__init__(batches)
        self.at, self.how = at, how

    def __getitem__(self, i):
        if i == self.at:
            self.how()
        return super().__getitem__(i)


class Counter:
    """State carried from batch to batch by the loss function: a tensor and a plain number."""

    def __init__(self):
        self.load_state_dict({"sum": torch.zeros(()), "calls": 0})

    def state_dict(self):
        return {"sum": self.sum, "calls": self.calls}

    def load_state_dict(self, state):
        self.sum, self.calls = state["sum"], state["calls"]


def make_batches(epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(epoch)
    rows = [8] * (BATCHES - 1) + [7]
    xs = [torch.randn(n, 5, generator=generator) for n in rows]
    return [(x, x.sum(1).gt(0).long()) for x in xs]


def make_model(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 2))


def train(model: nn.Module, batches=make_batches, **options) -> tuple[History, Counter]:
    """Three epochs; the first layer joins in the second."""
    counter = Counter()

    def loss_fn(model, batch):
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        counter.sum, counter.calls = counter.sum + loss.detach(), counter.calls + 1
        return loss

    def on_epoch(epoch):
        model[0].requires_grad_(epoch > 0)

    optimizer = torch.optim.AdamW(
        [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[3].parameters(), "lr": 0.02}]
    )
    options = {"save_every": 5, "schedule": linear_schedule(0.2), "clip": 1.0, "precision": "fp32"} | options
    history = fit(
        model, loss_fn, batches, optimizer=optimizer, epochs=EPOCHS, on_epoch=on_epoch, state=counter, **options
    )
    return history, counter


def stopping_batches(how, at: int = 8):
    """Batches whose second epoch ends the run at batch `at`: by default after 20 of 36 updates."""
    return lambda epoch: Stopping(make_batches(epoch), at if epoch == 1 else None, how)


def killed(checkpoint: str) -> None:
    train(
        make_model(dropout=0.3),
        stopping_batches(lambda: os.kill(os.getpid(), signal.SIGKILL)),
        checkpoint=checkpoint,
    )


def shared(folder: str) -> None:
    """Without dropout, for comparison with one process; then, with it, uninterrupted and interrupted and resumed."""
    from accelerate import Accelerator

    def interrupt():
        raise Interruption

    accelerator = Accelerator()
    plain, _ = train(make_model())
    model = make_model(dropout=0.3)
    whole, _ = train(model)
    checkpoint = Path(folder) / "shared.safetensors"
    resumed_model = make_model(dropout=0.3)
    try:
        train(resumed_model, stopping_batches(interrupt), checkpoint=checkpoint)
    except Interruption:
        resumed_model = make_model(dropout=0.3)
    resumed, _ = train(resumed_model, checkpoint=checkpoint)
    same = all(torch.equal(p, q) for p, q in zip(model.parameters(), resumed_model.parameters(), strict=True))
    report = {
        "processes": accelerator.num_processes,
        "losses": plain.losses,
        "whole": whole.losses,
        "resumed": resumed.losses,
        "same_weights": same,
        "random_after": torch.rand(3).tolist(),
    }
    (Path(folder) / f"report-{accelerator.process_index}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    {"killed": killed, "shared": shared}[sys.argv[1]](sys.argv[2])
