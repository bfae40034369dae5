"""The printed book: `tlib pdf` on what `make book` staged."""

import re
import shutil
from pathlib import Path

import pytest
from built import ROOT, SITE

from tlib import pdf
from tlib.pdf import PdfError
from tlib.pipeline import Project

pytestmark = pytest.mark.site


def test_the_book_is_printed_with_its_outline(tmp_path: Path) -> None:
    """Every chapter stands in the outline, pages are of A4, and nothing but the whole file is left."""
    project = Project(ROOT)
    printed = pdf.build(SITE.parent / "stage", tmp_path / "work", tmp_path / "book.pdf")
    content = printed.read_bytes()
    assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", content)) > 40 * len(project.chapters())
    assert set(re.findall(rb"/MediaBox \[0 0 (\d+)", content)) == {b"594"}
    titles = re.findall(rb"/Title \((.*?)\)", content)
    assert {b"Semi-supervised sequence learning", b"ELMo", b"ULMFiT", b"BERT"} <= {
        title.split(b":")[0] for title in titles
    }
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["book.pdf"]


def test_without_a_browser_the_error_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(PdfError, match="chromium"):
        pdf.build(tmp_path, tmp_path / "work", tmp_path / "book.pdf")
