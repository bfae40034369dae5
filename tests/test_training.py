"""The training loop: same numbers as a plain loop, bit-exact resume, clear refusals, two processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from programs import training_job as job
from safetensors.torch import load_file, save_file
from torch import nn

from tlib import training
from tlib.resume import CheckpointError
from tlib.training import TrainingError, check_devices, fit, linear_schedule

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "tests" / "programs" / "training_job.py"


def mean_loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def adamw(model, **options):
    return torch.optim.AdamW(model.parameters(), **({"lr": 0.01} | options))


def equal_weights(one, other):
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_same_numbers_as_a_plain_loop():
    """Per-update schedule on every group's own base rate, clipping, dropout: bit for bit the textbook loop."""
    model = job.make_model(dropout=0.3)
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[3].parameters(), "lr": 0.05}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    schedule = linear_schedule(0.25)
    torch.manual_seed(0)
    model.train()
    losses = []
    for epoch in range(2):
        for batch in job.make_batches(epoch):
            for group, lr in zip(optimizer.param_groups, (0.01, 0.05), strict=True):
                group["lr"] = lr * schedule(len(losses), 24)
            loss = mean_loss(model, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())

    ours = job.make_model(dropout=0.3)
    groups = [{"params": ours[0].parameters(), "lr": 0.01}, {"params": ours[3].parameters(), "lr": 0.05}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    torch.manual_seed(0)
    history = fit(
        ours, mean_loss, job.make_batches, optimizer=optimizer, epochs=2, schedule=schedule, clip=0.5, precision="fp32"
    )
    assert history.losses == losses
    assert equal_weights(ours, model)
    assert history.lrs == [0.05 * schedule(step, 24) for step in range(24)]
    assert history.epoch_ends == [12, 24]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.05], "base rates are put back"
    assert not ours.training
    assert json.loads(json.dumps(history.to_dict()))["losses"] == losses


def test_clipping_bounds_the_update():
    weight = nn.Linear(1, 1, bias=False)
    before = weight.weight.item()
    batches = [torch.full((1, 1), 1000.0)]
    optimizer = torch.optim.SGD(weight.parameters(), lr=1.0)
    fit(weight, lambda m, x: m(x).mean(), lambda epoch: batches, optimizer=optimizer, clip=0.25, precision="fp32")
    assert weight.weight.item() == pytest.approx(before - 0.25, abs=1e-6)


def test_frozen_parameters_keep_every_bit():
    """Neither gradients nor weight decay touch them, and Adam's moments do not drift."""
    model = job.make_model()
    model[0].requires_grad_(False)
    frozen = {name: tensor.clone() for name, tensor in model[0].state_dict().items()}
    trained = model[3].weight.clone()
    optimizer = adamw(model, weight_decay=0.5)
    fit(model, mean_loss, job.make_batches, optimizer=optimizer, epochs=2)
    assert all(torch.equal(frozen[name], tensor) for name, tensor in model[0].state_dict().items())
    assert not torch.equal(trained, model[3].weight)
    assert all(p not in optimizer.state for p in model[0].parameters())


def test_gradual_unfreezing_by_epoch():
    model = job.make_model()
    seen = []

    def on_epoch(epoch):
        seen.append((epoch, model[0].weight.clone()))
        model[0].requires_grad_(epoch > 0)

    fit(model, mean_loss, job.make_batches, optimizer=adamw(model), epochs=3, on_epoch=on_epoch)
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert torch.equal(seen[0][1], seen[1][1]), "frozen in epoch 0"
    assert not torch.equal(seen[1][1], seen[2][1]), "trains in epoch 1"


def test_evaluation_after_each_epoch_and_training_mode_within():
    model = job.make_model(dropout=0.5)
    modes = []

    def loss_fn(model, batch):
        modes.append(model.training)
        return mean_loss(model, batch)

    def evaluate():
        model.eval()
        assert not torch.is_grad_enabled()
        return {"calls": len(modes)}

    history = fit(model, loss_fn, job.make_batches, optimizer=adamw(model), epochs=2, evaluate=evaluate)
    assert history.scores == [{"calls": 12}, {"calls": 24}]
    assert all(modes)


def test_batches_may_be_dicts_and_precision_may_be_lower():
    torch.manual_seed(0)
    model = nn.Linear(5, 2)
    dtypes = set()

    def loss_fn(model, batch):
        logits = model(batch["x"])
        dtypes.add(logits.dtype)
        return nn.functional.cross_entropy(logits, batch["y"])

    batches = [{"x": x, "y": y} for x, y in job.make_batches(0)]
    history = fit(model, loss_fn, lambda e: batches, optimizer=adamw(model), epochs=9, precision="bf16")
    assert dtypes == {torch.bfloat16}
    assert model.weight.dtype == torch.float32
    assert history.losses[-1] < history.losses[0]


def test_a_loss_that_is_no_number_stops_with_its_step_and_a_remedy(tmp_path):
    batches = job.make_batches(0)
    batches[9] = (batches[9][0] * float("nan"), batches[9][1])
    model, path = job.make_model(), tmp_path / "run.safetensors"
    with pytest.raises(TrainingError, match="became nan at update 9 .* of 12: lower the learning rate .*clip=1.0"):
        fit(model, mean_loss, lambda e: batches, optimizer=adamw(model), checkpoint=path, save_every=3)
    assert all(tensor.isfinite().all() for tensor in load_file(path).values() if tensor.is_floating_point())


def test_a_late_look_at_the_losses_names_the_first_bad_step(monkeypatch):
    """On a GPU losses are fetched in bunches; the CPU stands for it here."""
    loop = training._Loop(model := job.make_model(), mean_loss, adamw(model), None, None, "fp32")
    loop.pending = [torch.tensor(value) for value in (0.5, float("inf"), float("nan"))]
    loop.step, loop.history.lrs = 10, [0.1] * 10
    with pytest.raises(TrainingError, match="became inf at update 8"):
        loop.fetch()


def test_refusals_name_the_remedy():
    model = job.make_model()
    optimizer = adamw(model)
    with pytest.raises(ValueError, match="at least one batch"):
        fit(model, mean_loss, lambda epoch: [], optimizer=optimizer)
    model.requires_grad_(False)
    with pytest.raises(TrainingError, match="requires a gradient"):
        fit(model, mean_loss, job.make_batches, optimizer=optimizer)


def test_linear_schedule_rises_and_falls():
    schedule = linear_schedule(0.25)
    assert [schedule(step, 8) for step in range(8)] == pytest.approx(
        [1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    )
    assert linear_schedule(0.0)(0, 4) == 1.0
    with pytest.raises(ValueError, match="from 0 to below 1"):
        linear_schedule(1.0)


def test_killed_and_resumed_is_bit_identical(tmp_path):
    path = tmp_path / "run.safetensors"
    run = subprocess.run([sys.executable, PROGRAM, "killed", path], cwd=ROOT, env=environment(), check=False)
    assert run.returncode == -signal.SIGKILL
    left = load_file(path)
    whole = job.make_model(dropout=0.3)
    history, counter = job.train(whole)
    assert not torch.equal(left["model/0.weight"], whole[0].weight), "killed before its end"

    resumed = job.make_model(dropout=0.3)
    again, carried = job.train(resumed, checkpoint=path)
    assert again.losses == history.losses
    assert again.lrs == history.lrs and again.epoch_ends == history.epoch_ends == [12, 24, 36]
    assert equal_weights(resumed, whole)
    assert (carried.calls, carried.sum.item()) == (counter.calls, counter.sum.item()) == (36, sum_of(history))
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "no half file is left"

    job.train(finished := job.make_model(dropout=0.3), job.stopping_batches(pytest.fail, at=0), checkpoint=path)
    assert equal_weights(finished, whole), "a finished run is read, not trained again"


def sum_of(history):
    return sum((torch.tensor(loss) for loss in history.losses), torch.zeros(())).item()


@pytest.mark.parametrize("at", [0, 3, 8])
def test_resumes_at_the_edge_of_an_epoch_or_inside_it(tmp_path, at):
    def interrupt():
        raise job.Interruption

    whole = job.make_model(dropout=0.3)
    history, _ = job.train(whole, evaluate=lambda: float(torch.rand(1)))
    model, path = job.make_model(dropout=0.3), tmp_path / "run.safetensors"
    with pytest.raises(job.Interruption):
        job.train(model, job.stopping_batches(interrupt, at), checkpoint=path, evaluate=lambda: float(torch.rand(1)))
    resumed = job.make_model(dropout=0.3)
    again, _ = job.train(resumed, checkpoint=path, evaluate=lambda: float(torch.rand(1)))
    assert again.losses == history.losses and again.scores == history.scores
    assert equal_weights(resumed, whole)


def test_damaged_checkpoints_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    job.train(job.make_model(), checkpoint=path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-20] ^= 1
    for damaged in (b"", whole[: len(whole) // 2], bytes(flipped), b"not a checkpoint at all"):
        path.write_bytes(damaged)
        with pytest.raises(
            CheckpointError, match="run.safetensors is not a whole checkpoint .*delete it to start over"
        ):
            job.train(job.make_model(), checkpoint=path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        job.train(job.make_model(), checkpoint=path)


def test_another_run_s_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    job.train(job.make_model(), checkpoint=path)

    def refused(naming, model=None, **options):
        with pytest.raises(CheckpointError, match=f"belongs to another run, with other .*{naming}.*delete the file"):
            job.train(model or job.make_model(), **({"checkpoint": path} | options))

    other = job.make_model()
    with torch.no_grad():
        other[0].weight[0, 0] += 1e-3
    refused("initial weights", other)
    refused("data", batches=lambda epoch: job.make_batches(epoch + 1))
    refused("batches per epoch", batches=lambda epoch: job.make_batches(epoch)[:-1])
    refused("schedule", schedule=linear_schedule(0.3))
    refused("clip", clip=None)
    refused("precision", precision="bf16")

    model = job.make_model()
    with pytest.raises(CheckpointError, match="with other optimizer, schedule, code of the loss, precision"):
        settings = {"optimizer": adamw(model), "epochs": 3, "checkpoint": path, "clip": 1.0, "precision": "bf16"}
        fit(model, mean_loss, job.make_batches, **settings)


def test_a_changed_layer_is_another_run(tmp_path):
    path = tmp_path / "run.safetensors"

    class Layer(nn.Linear):
        def forward(self, x):
            return super().forward(x)

    def run(layer):
        torch.manual_seed(0)
        model = layer(5, 2)
        return fit(model, mean_loss, job.make_batches, optimizer=adamw(model), checkpoint=path)

    first = run(Layer)
    assert run(Layer).losses == first.losses
    Layer.forward = lambda self, x: nn.Linear.forward(self, x) * 2
    with pytest.raises(CheckpointError, match="code of the model"):
        run(Layer)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    saved = []

    def save_then_fail(tensors, file, metadata):
        if len(saved) == 2:
            Path(file).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        saved.append(file)
        save_file(tensors, file, metadata)

    monkeypatch.setattr("tlib.resume.save_file", save_then_fail)
    with pytest.raises(OSError, match="No space left"):
        job.train(job.make_model(dropout=0.3), checkpoint=path)
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    model = job.make_model(dropout=0.3)
    history, _ = job.train(model, checkpoint=path)
    assert history.losses == job.train(job.make_model(dropout=0.3))[0].losses


def test_tied_weights_and_buffers_resume(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(5)
            self.one = nn.Linear(5, 5)
            self.two = nn.Linear(5, 5)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.two(self.one(self.norm(x)))

    def run(batches, **options):
        torch.manual_seed(0)
        model = Tied()
        fit(model, mean_loss, batches, optimizer=adamw(model), epochs=3, **options)
        return model

    def interrupt():
        raise job.Interruption

    path = tmp_path / "run.safetensors"
    with pytest.raises(job.Interruption):
        run(job.stopping_batches(interrupt), checkpoint=path, save_every=5)
    resumed, whole = run(job.make_batches, checkpoint=path, save_every=5), run(job.make_batches)
    assert all(
        torch.equal(a, b) for a, b in zip(resumed.state_dict().values(), whole.state_dict().values(), strict=True)
    )


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run([*command, PROGRAM, "shared", tmp_path], cwd=ROOT, env=environment(), check=True, timeout=300)
    reports = [json.loads((tmp_path / f"report-{i}.json").read_text()) for i in range(2)]
    alone, _ = job.train(job.make_model())
    for report in reports:
        assert report["processes"] == 2, "not one process that believes to be two"
        assert report["losses"] == pytest.approx(alone.losses, rel=1e-4, abs=1e-6)
        assert report["resumed"] == report["whole"] and report["same_weights"]
    assert reports[0]["losses"] == reports[1]["losses"]
    assert reports[0]["random_after"] == reports[1]["random_after"], "one random state again after training"


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}


def test_no_bar_is_drawn_where_nobody_watches(capfd):
    model = job.make_model()
    fit(model, mean_loss, job.make_batches, optimizer=adamw(model))
    assert capfd.readouterr() == ("", "")


class Recurrent(nn.Module):
    """Keeps to the device of its input, or, if told so, does not."""

    def __init__(self, careless):
        super().__init__()
        self.embedding, self.out, self.careless = nn.Embedding(11, 4), nn.Linear(4, 11), careless

    def forward(self, ids):
        noise = torch.rand(ids.shape) if self.careless else torch.rand(ids.shape, device=ids.device)
        return self.out(self.embedding(ids) * noise[..., None])


def next_token_loss(model, batch):
    return nn.functional.cross_entropy(model(batch["x"]).flatten(0, 1), batch["y"].flatten())


def token_batch():
    return {"x": torch.zeros(3, 7, dtype=torch.long), "y": torch.ones(3, 7, dtype=torch.long)}


def test_device_check_passes_for_a_model_that_keeps_to_its_device():
    check_devices(lambda: Recurrent(careless=False), next_token_loss, token_batch)


def test_device_check_fails_for_one_tensor_on_the_cpu():
    with pytest.raises(RuntimeError, match="found at least two devices, meta and cpu"):
        check_devices(lambda: Recurrent(careless=True), next_token_loss, token_batch)

    def careless_loss(model, batch):
        return next_token_loss(model, batch) + torch.ones(2).mean() * torch.ones(11).dot(model.out.bias)

    with pytest.raises(RuntimeError, match="meta"):
        check_devices(lambda: Recurrent(careless=False), careless_loss, token_batch)
