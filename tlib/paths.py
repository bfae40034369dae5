"""Where tlib keeps things on the reader's machine."""

import os
from pathlib import Path


def cache() -> Path:
    """Folder for downloads, parsed data and artefacts: `TLIB_CACHE` if set, else the user's own cache folder."""
    chosen = os.environ.get("TLIB_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("tlib"))


def chapter_cache(slug: str, profile: str) -> Path:
    """Where a chapter keeps the checkpoints of its own training, to resume from."""
    return cache() / "chapters" / slug / profile


def root() -> Path | None:
    """The checkout that this package is imported from, or None when it was installed without one."""
    folder = Path(__file__).resolve().parent.parent
    return folder if (folder / "pyproject.toml").is_file() and (folder / "book").is_dir() else None


def results(profile: str) -> Path:
    """Folder of the claim records of `profile`: `TLIB_RESULTS` if set, else the checkout's, else the current folder."""
    chosen = os.environ.get("TLIB_RESULTS")
    if chosen:
        return Path(chosen).expanduser().absolute()
    checkout = root()
    return checkout / "book" / "results" / profile if checkout else Path.cwd()
