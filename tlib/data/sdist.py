"""Fetch a source distribution without running it.

`pip download` runs the `setup.py` of a source distribution to learn its metadata. This finds the file as pip would,
from the user's own pip configuration, and only saves it.
"""

import ast
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

from tlib.data.catalogue import Archive, DataError


def pip_settings() -> dict[str, str]:
    """The user's pip options by long name ("index-url"), as `pip download` sees them: files first, environment last."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise DataError(f"pip config list said: {listed.stderr.strip()}")
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if section in found:
            found[section][option] = ast.literal_eval(value)
    return found["global"] | found["download"] | found[":env:"]


def fetch(archive: Archive, folder: Path) -> None:
    """Save the source distribution in `folder`; `DataError` if no source has it or the connection fails."""
    import httpx2

    finder = _finder(pip_settings(), archive)
    try:
        best = finder.find_best_match(f"{archive.package}=={archive.version}").best
        if best is None:
            raise DataError("no index and no folder of pip's configuration offers it")
        target = folder / archive.filename
        if best.link.is_file:
            shutil.copyfile(best.link.file_path, target)
            return
        with finder.session.get_stream(best.link.url_without_fragment) as response, target.open("wb") as file:
            response.raise_for_status()
            for piece in response.iter_bytes():
                file.write(piece)
    except httpx2.HTTPError as error:
        raise DataError(f"{type(error).__name__}: {error}") from error


def _finder(settings: dict[str, str], archive: Archive):
    """A finder over pip's indexes and folders; unearth brings the default index, unless pip is told to use none."""
    from unearth import PackageFinder
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    trusted = settings.get("trusted-host", "").split()
    indexes = [*settings.get("index-url", "").split(), *settings.get("extra-index-url", "").split()]
    client = PyPIClient(
        trusted_hosts=trusted,
        verify=ssl.create_default_context(cafile=settings["cert"]) if "cert" in settings else True,
        cert=settings.get("client-cert"),
        proxy=settings.get("proxy"),
        timeout=float(settings.get("timeout", settings.get("default-timeout", 15))),
        follow_redirects=True,
    )
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=indexes)
    finder = PackageFinder(
        client, index_urls=settings.get("index-url", "").split(), no_binary=[archive.package], ignore_compatibility=True
    )
    for url in settings.get("extra-index-url", "").split():
        finder.add_index_url(url)
    if settings.get("no-index", "") in {"1", "true", "yes", "on"}:
        finder.sources.clear()
    for place in settings.get("find-links", "").split():
        if "://" in place or Path(place).expanduser().exists():
            finder.add_find_links(os.path.expanduser(place))
    return finder
