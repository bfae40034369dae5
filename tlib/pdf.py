"""The book on paper: Sphinx writes all pages as one, and Chromium prints it. `tlib.pipeline` has staged them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

# The first that is installed prints; the last flag makes it wait for the formulas.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
FLAGS += ("--no-pdf-header-footer", "--generate-pdf-document-outline", "--virtual-time-budget=120000")


class PdfError(RuntimeError):
    """The book cannot be printed; the message names the remedy."""


def build(stage: Path, folder: Path, pdf: Path) -> Path:
    """Print the staged book.

    Args:
        stage: the staging copy that `tlib.pipeline.build_book` leaves.
        folder: where Sphinx may work; it is written anew.
        pdf: the file to write. An older one stays until the new one is whole.

    Raises:
        PdfError: there is no browser, or Sphinx or the browser failed; what they said is in the message.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise PdfError(f"none of {', '.join(BROWSERS)} is installed: the book is printed with Chromium")
    shutil.rmtree(folder, ignore_errors=True)
    sphinx = [str(Path(sys.executable).with_name("jupyter-book")), "build", "--builder", "singlehtml"]
    _run([*sphinx, "--path-output", str(folder), str(stage)])
    pages = folder / "_build" / "singlehtml"
    shutil.copy2(pages / "book" / "index.html", pages / "all.html")  # its links to styles and images start from here
    part = pdf.with_suffix(".part.pdf")
    _run([browser, *FLAGS, f"--print-to-pdf={part}", (pages / "all.html").as_uri()])
    if not part.is_file():
        raise PdfError(f"{browser} printed nothing")
    return part.replace(pdf)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise PdfError(f"{Path(command[0]).name} failed:\n{done.stdout[-3000:]}")
