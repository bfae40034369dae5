"""Small archives of every kind that tlib.data reads, made on the spot."""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

from tlib.data import Archive


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def described(path: Path, kind: str, package: str = "toy-data") -> Archive:
    """The catalogue's description of a file that lies somewhere outside the cache."""
    return Archive(kind, package, "1.0", path.name, sha256(path))


def wheel(folder: Path, files: dict[str, str], package: str = "toy_data") -> Archive:
    """A wheel that pip accepts, with `files` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}-1.0-py3-none-any.whl"
    info = f"{package}-1.0.dist-info"
    made = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in made.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return described(path, "wheel", package.replace("_", "-"))


def tarball(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
    return path


def debian(path: Path, files: dict[str, str]) -> Path:
    """A Debian archive: an `ar` file of a version, a control tarball and a data tarball."""
    data = tarball(path.with_suffix(".tar.gz"), {f"./{name}": content for name, content in files.items()})
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": b"", "data.tar.gz": data.read_bytes()}
    data.unlink()
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in parts.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    return path


def fake_client(folder: Path, name: str, script: str) -> None:
    """A shell script called `name`, such as "npm", in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def pip_settings(find_links: Path) -> dict[str, str]:
    """Environment in which pip sees one folder and no index at all."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(find_links), "PIP_CONFIG_FILE": os.devnull}
