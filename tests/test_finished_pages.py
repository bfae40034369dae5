"""What `tlib.pages` does to built pages."""

from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt

from tlib import pages, plots


def test_icons_are_not_loaded_twice(tmp_path: Path) -> None:
    scripts = tmp_path / "_static" / "vendor" / "fontawesome" / "6.5.2" / "js"
    scripts.mkdir(parents=True)
    (scripts / "all.min.js").touch()
    page = tmp_path / "book" / "index.html"
    page.parent.mkdir()
    kept = '<script src="../_static/book.js"></script>\n<link href="../_static/vendor/fontawesome/6.5.2/css/all.css" />'
    page.write_text(f'<script src="../_static/vendor/fontawesome/6.5.2/js/all.min.js?digest=a"></script>\n{kept}')
    pages.finish(tmp_path)
    assert page.read_text() == kept and not scripts.exists()


def test_lines_of_code_are_noted(tmp_path: Path) -> None:
    opening = '<div class="cell_input docutils container"'
    code = '>\n<div class="highlight"><pre><span></span>first\n\n<span class="n">third</span>\n</pre></div>\n</div>\n'
    page = tmp_path / "chapter.html"
    page.write_text(f"<p>\n</p>{opening}{code}<pre>an output\n</pre>{opening}{code}")
    pages.finish(tmp_path)
    noted = f'{opening} style="--lines: 3"{code}'
    assert page.read_text() == f"<p>\n</p>{noted}<pre>an output\n</pre>{noted}"


def test_figures_become_files(tmp_path: Path) -> None:
    figure, _ = plt.subplots(figsize=(6, 3))
    with mock.patch("IPython.display.display") as display:
        plots.show(figure, "a figure")
    shown = display.call_args.args[0].data
    page = tmp_path / "notebooks" / "chapter.html"
    page.parent.mkdir()
    page.write_text(f"<p>{shown}</p><p>{shown}</p>")
    pages.finish(tmp_path)
    (picture,) = (tmp_path / "_images").glob("*.png")
    image = f'<img alt="a figure" width="576" height="288" src="../_images/{picture.name}">'
    assert page.read_text() == f"<p>{image}</p><p>{image}</p>"
    assert plt.imread(picture).shape[:2] == (3 * 144, 6 * 144)


def test_a_page_is_light_without_scripts_and_says_what_it_is_about(tmp_path: Path) -> None:
    head = '<html lang="en" data-theme="auto">\n<title>{}</title>\n'
    (tmp_path / "front.html").write_text(head.format("The Book &#8212; The Book"))
    idea = "<p><strong>The idea in one sentence.</strong> Read <em>both</em>\nsides.</p>"
    (tmp_path / "chapter.html").write_text(head.format("One &#8212; The Book") + idea)
    pages.finish(tmp_path)
    assert (tmp_path / "front.html").read_text() == '<html lang="en" data-theme="light">\n<title>The Book</title>\n'
    chapter = (tmp_path / "chapter.html").read_text()
    assert "<title>One &#8212; The Book</title>" in chapter
    assert '<meta name="description" content="Read both sides.">' in chapter


def test_a_description_cannot_break_out_of_its_attribute(tmp_path: Path) -> None:
    page = tmp_path / "chapter.html"
    page.write_text('<title>One</title>\n<p><strong>The idea in one sentence.</strong> Say "why".</p>')
    pages.finish(tmp_path)
    assert 'content="Say &quot;why&quot;."' in page.read_text()
