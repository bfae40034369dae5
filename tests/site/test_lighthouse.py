"""Lighthouse, Google's audit of pages, as on a desktop computer: `make lighthouse`, with nothing else running."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tlib import paths, store

pytestmark = pytest.mark.benchmark

PACKAGES = Path(__file__).with_name("lighthouse")  # package.json and its lock
FLAGS = "--headless=new --no-sandbox --disable-gpu"
TRIES = 3
PAGES = ["book/index.html", "book/results.html", "notebooks/04_bert.html"]  # 04 is the longest chapter
PERFORMANCE = 0.95


@pytest.fixture(scope="module")
def program() -> Path:
    """Lighthouse, installed once by npm and kept in the cache until its lock changes."""
    folder = paths.cache() / "lighthouse"
    wanted, done = store.sha256(PACKAGES / "package-lock.json"), folder / "installed"
    with store.locked(folder):
        if not done.exists() or done.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(PACKAGES, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(command, cwd=folder, check=True)
            store.write(done, wanted.encode())
    return folder / "node_modules" / ".bin" / "lighthouse"


def audit(program: Path, chromium: str, address: str) -> dict[str, float]:
    """Scores of a page, from 0 to 1, by category."""
    options = ["--quiet", "--preset=desktop", "--only-categories=performance,accessibility", "--output=json"]
    command = [str(program), address, *options, f"--chrome-flags={FLAGS}"]
    environment = os.environ | {"CHROME_PATH": chromium}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    return {name: found["score"] for name, found in json.loads(said.stdout)["categories"].items()}


@pytest.mark.parametrize("path", PAGES)
def test_lighthouse_is_content(path: str, program: Path, chromium: str, server: str) -> None:
    """The best of a few tries: whatever else the machine does can only make a page slower."""
    best: dict[str, float] = {}
    for _ in range(TRIES):
        scores = audit(program, chromium, f"{server}/{path}")
        print(f"{path}: {scores}")
        best = {name: max(score, best.get(name, 0.0)) for name, score in scores.items()}
        if best["performance"] >= PERFORMANCE:
            break
    assert best["performance"] >= PERFORMANCE
    assert best["accessibility"] == 1
