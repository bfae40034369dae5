"""Things that are expensive to make and must never be half there: an atomic, content-addressed cache.

`get_or_build` keeps the tensors of a builder under a key of all that they depend on; `tlib.data` uses the same lock
and workspace, and records and shipped checkpoints are files that `write` makes.
"""

import hashlib
import inspect
import json
import os
import shutil
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tlib import paths

if TYPE_CHECKING:
    import torch


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the right to make `target` while another process that wants it waits; even a killed process gives it up."""
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        yield


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` to make it in, then to be moved from with `os.replace`. Hold `locked(target)`.

    The folder is gone at the end, whatever happens, and so are those that killed processes left.
    """
    prefix = f".{target.name}."
    for leftover in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a file in one step: whoever reads it, or a kill, finds the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are their owner's alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def get_or_build(
    name: str, config: dict, build: Callable[[dict], dict[str, "torch.Tensor"]], *, data_hashes: Iterable[str] = ()
) -> dict[str, "torch.Tensor"]:
    """Tensors of `build(config)`, from the cache when nothing that they depend on has changed.

    The key covers `config` (as JSON), the source code of `build`, and `data_hashes` (see `tlib.data.hashes`). What
    else `build` depends on, such as a function it calls or the profile, belongs in `config`. Two processes at once
    build once; a killed one leaves nothing.

    Args:
        name: a short name of letters, digits, `-`, `_` and `.`; it begins the folder's name.
        config: JSON-serialisable settings, passed to `build`.
        build: a function written with `def` or `lambda` in a file or a notebook cell.

    Raises:
        TypeError: `config` is not JSON-serialisable, or `build` is no plain function.
        ValueError: `name` is no plain name.
    """
    from safetensors.torch import load_file, save_file

    if not name or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ValueError(f"{name!r} cannot name an artefact: use letters, digits, '-', '_' and '.'")
    depends = {"config": config, "source": _source(build), "data_hashes": sorted(data_hashes)}
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
    folder = paths.cache() / "store" / f"{name}-{key[:16]}"
    with locked(folder):
        if not _intact(folder):
            shutil.rmtree(folder, ignore_errors=True)
            tensors = {label: tensor.detach().cpu().contiguous() for label, tensor in build(config).items()}
            with workspace(folder) as draft:
                save_file(tensors, draft / "tensors.safetensors")
                card = depends | {"name": name, "key": key, "sha256": sha256(draft / "tensors.safetensors")}
                (draft / "card.json").write_text(json.dumps(card, indent=2, sort_keys=True))
                os.replace(draft, folder)
        return load_file(folder / "tensors.safetensors")


def _source(build: Callable) -> str:
    if not inspect.isfunction(build):
        raise TypeError(f"build must be a plain function, whose source is part of the key; got {type(build).__name__}")
    try:
        return textwrap.dedent(inspect.getsource(build))
    except OSError as error:
        raise TypeError("the source of build cannot be read: write it in a file or a notebook cell") from error


def _intact(folder: Path) -> bool:
    """Whether the artefact is there and its tensors are those that were written; a damaged one is reported."""
    if not folder.exists():
        return False
    try:
        expected = json.loads((folder / "card.json").read_text())["sha256"]
        if sha256(folder / "tensors.safetensors") == expected:
            return True
    except (OSError, ValueError, KeyError):
        pass
    warnings.warn(f"{folder} was damaged; building it anew", stacklevel=3)
    return False
