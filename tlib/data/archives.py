"""Read the members of package archives as plain bytes.

Nothing is ever extracted, imported or unpickled: a member's name is only a key, so a hostile path in an archive leads
nowhere.
"""

import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

MEMBER_LIMIT = 512 * 2**20  # bytes; the largest member in the catalogue has 91 MB


def members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield `(name, content)` of every regular member whose name matches the glob `pattern`, sorted by name.

    `*` also matches `/`. Wheels (zip), tarballs of npm and of sdists, and Debian archives are read alike.

    Raises:
        ValueError: the file is no archive that can be read, or a member is unreasonably large.
    """
    try:
        if zipfile.is_zipfile(path):
            yield from _zip_members(path, pattern)
        elif path.suffix == ".deb":
            yield from _tar_members(io.BytesIO(_deb_payload(path)), pattern)
        else:
            with path.open("rb") as file:
                yield from _tar_members(file, pattern)
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as an archive: {error}") from error


def member(path: Path, pattern: str) -> bytes:
    """Content of the one member that matches `pattern`; `ValueError` when there is none, or more than one."""
    found = list(members(path, pattern))
    if len(found) != 1:
        raise ValueError(f"{path.name} holds {len(found)} members like {pattern!r}, expected one")
    return found[0][1]


def _zip_members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for entry in sorted(archive.infolist(), key=lambda item: item.filename):
            if not entry.is_dir() and fnmatchcase(entry.filename, pattern):
                _check_size(entry.filename, entry.file_size)
                yield entry.filename, archive.read(entry)


def _tar_members(file: io.BufferedIOBase, pattern: str) -> Iterator[tuple[str, bytes]]:
    # A compressed tarball is read once, front to back: sorting first would decompress it anew for every member.
    found = {}
    with tarfile.open(fileobj=file) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            if entry.isreg() and fnmatchcase(name, pattern):
                _check_size(name, entry.size)
                found[name] = archive.extractfile(entry).read()
    yield from sorted(found.items())


def _deb_payload(path: Path) -> bytes:
    """The uncompressed or gz/xz/bz2 tarball `data.tar*` inside a Debian archive (an `ar` file)."""
    from debian.arfile import ArError, ArFile

    try:
        for part in ArFile(str(path)).getmembers():
            name = part.name.rstrip("/")
            if name == "data.tar.zst":
                raise ValueError(
                    f"{path.name} is compressed with zstd, which tlib does not read; use Debian's own xz build"
                )
            if name.startswith("data.tar"):
                return part.read()
    except ArError as error:
        raise ValueError(f"{path} cannot be read as a Debian archive: {error}") from error
    raise ValueError(f"{path} holds no data.tar, so it is not a Debian archive")


def _check_size(name: str, size: int) -> None:
    if size > MEMBER_LIMIT:
        raise ValueError(f"member {name!r} has {size:,} bytes, more than the {MEMBER_LIMIT:,} that are allowed")
