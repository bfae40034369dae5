"""The content-addressed cache: built once, keyed by all that matters, whole or absent."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tlib import paths, store

CALLS = []


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLIB_CACHE", str(tmp_path))
    CALLS.clear()
    return tmp_path / "store"


def ramp(config):
    CALLS.append(config)
    return {"ramp": torch.arange(config["size"], dtype=torch.float32)}


def other_ramp(config):
    CALLS.append(config)
    return {"ramp": torch.arange(config["size"], dtype=torch.float32) + 0}


def test_it_is_built_once_and_comes_back_the_same(cache):
    first = store.get_or_build("ramp", {"size": 5}, ramp)
    again = store.get_or_build("ramp", {"size": 5}, ramp)
    assert len(CALLS) == 1
    assert torch.equal(first["ramp"], torch.arange(5.0)) and torch.equal(first["ramp"], again["ramp"])
    (card,) = cache.glob("ramp-*/card.json")
    assert json.loads(card.read_text())["config"] == {"size": 5}


def test_everything_that_matters_is_in_the_key():
    store.get_or_build("ramp", {"size": 5, "seed": 1}, ramp, data_hashes=["a", "b"])
    store.get_or_build("ramp", {"seed": 1, "size": 5}, ramp, data_hashes=["b", "a"])
    assert len(CALLS) == 1, "the order of settings and of data does not matter"
    store.get_or_build("ramp", {"size": 5, "seed": 2}, ramp, data_hashes=["a", "b"])
    store.get_or_build("ramp", {"size": 5, "seed": 1}, ramp, data_hashes=["a", "c"])
    store.get_or_build("ramp", {"size": 5, "seed": 1}, other_ramp, data_hashes=["a", "b"])
    assert len(CALLS) == 4


@pytest.mark.parametrize("file", ["tensors.safetensors", "card.json"])
def test_a_damaged_artefact_is_built_anew(file, cache):
    store.get_or_build("ramp", {"size": 5}, ramp)
    (path,) = cache.glob(f"ramp-*/{file}")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(store.get_or_build("ramp", {"size": 5}, ramp)["ramp"], torch.arange(5.0))
    assert len(CALLS) == 2


def test_a_build_that_fails_leaves_nothing(cache):
    def fails(config):
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        store.get_or_build("broken", {}, fails)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_full_disk_leaves_nothing(cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        store.get_or_build("ramp", {"size": 5}, ramp)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_tensors_that_are_no_plain_copies_are_kept(cache):
    def views(config):
        weights = torch.arange(6.0).reshape(2, 3).requires_grad_()
        return {"transposed": weights.T, "row": weights[0]}

    views_again = store.get_or_build("views", {}, views)
    assert torch.equal(views_again["transposed"], torch.arange(6.0).reshape(2, 3).T)
    assert not views_again["row"].requires_grad


def test_what_cannot_be_a_key_is_refused():
    with pytest.raises(ValueError, match="cannot name an artefact"):
        store.get_or_build("../outside", {}, ramp)
    with pytest.raises(TypeError, match="JSON"):
        store.get_or_build("ramp", {"size": torch.tensor(5)}, ramp)
    with pytest.raises(TypeError, match="plain function"):
        store.get_or_build("ramp", {"size": 5}, torch.nn.Identity())


BUILDER = """
import sys, time, torch
from pathlib import Path
from tlib import store

def slow(config):
    with open(sys.argv[1], "a") as log:
        log.write("built ")
    time.sleep(float(sys.argv[2]))
    return {"x": torch.ones(3)}

print(store.get_or_build("slow", {}, slow)["x"].sum().item())
"""


def start(tmp_path, seconds: float) -> subprocess.Popen:
    (tmp_path / "builder.py").write_text(BUILDER)
    command = [sys.executable, str(tmp_path / "builder.py"), str(tmp_path / "log"), str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(paths.root() or ".")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_two_processes_at_once_build_once(tmp_path):
    both = [start(tmp_path, 1) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["3.0", "3.0"]
    assert (tmp_path / "log").read_text() == "built "


def test_a_killed_builder_leaves_no_half_artefact(tmp_path, cache):
    process = start(tmp_path, 60)
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(cache.glob("slow-*/tensors.safetensors"))
    assert start(tmp_path, 0).communicate(timeout=120)[0].strip() == "3.0"


def test_a_workspace_clears_what_the_killed_left(tmp_path):
    target = tmp_path / "thing"
    leftover = tmp_path / ".thing.killed"
    leftover.mkdir()
    (leftover / "half").write_text("half")
    with store.locked(target), store.workspace(target) as folder:
        assert folder.is_dir() and not leftover.exists()
    assert not folder.exists()


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    assert paths.cache() == tmp_path
    monkeypatch.delenv("TLIB_CACHE")
    assert paths.cache().name == "tlib"
    monkeypatch.setenv("TLIB_RESULTS", str(tmp_path / "records"))
    assert paths.results("laptop") == tmp_path / "records"
    monkeypatch.delenv("TLIB_RESULTS")
    checkout = paths.root()
    assert checkout is not None and paths.results("laptop") == checkout / "book" / "results" / "laptop"
