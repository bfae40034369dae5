"""The files of the built site: links, what must not be published, search, notices."""

import csv
import json
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from built import PAGES, ROOT, SITE
from playwright.sync_api import Browser

from tlib.course import exercises, specs
from tlib.site import STAND_IN

pytestmark = pytest.mark.site


@pytest.fixture(scope="module")
def soups(site: Path) -> dict[Path, BeautifulSoup]:
    """Every page, parsed."""
    return {(site / page): BeautifulSoup((site / page).read_text("utf-8"), "html.parser") for page in PAGES}


def test_internal_links_resolve(site: Path, soups: dict[Path, BeautifulSoup]) -> None:
    """A link to another page, and to a place on it, leads there."""
    anchors = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in soups.items()}
    broken = []
    for page, soup in soups.items():
        for link in soup.find_all("a", href=True):
            parts = urlsplit(link["href"])
            if parts.scheme or link["href"] == "#":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            fragment = unquote(parts.fragment)
            if not target.is_file() or (fragment and fragment not in anchors.get(target, {fragment})):
                broken.append(f"{page.relative_to(site)} -> {link['href']}")
    assert not broken, "\n".join(broken)


def test_every_page_has_its_notices(soups: dict[Path, BeautifulSoup]) -> None:
    """A title, a language, a copyright and a licence on every page but the redirect at the root."""
    for page, soup in soups.items():
        if soup.find("meta", attrs={"http-equiv": "Refresh"}):
            continue
        text = soup.get_text(" ")
        assert soup.html["lang"] == "en" and soup.title.get_text(strip=True), page
        assert "Copyright" in text and "CC BY 4.0" in text, page


def test_nothing_is_published_by_accident(site: Path, soups: dict[Path, BeautifulSoup]) -> None:
    """No notebooks but those without solutions; no unfilled place; no path of the machine that built the site."""
    published = {path.relative_to(site): path.read_bytes() for path in site.rglob("*.ipynb")}
    colab = SITE.parent / "colab"
    files = colab.rglob("*.ipynb")
    assert published == {Path("_static") / path.relative_to(colab): path.read_bytes() for path in files}
    assert not list(site.rglob("_sources"))
    for page, soup in soups.items():
        assert "% generated:" not in str(soup), page
        assert str(ROOT) not in str(soup), page


def test_no_solution_and_nothing_of_the_grader_is_published(soups: dict[Path, BeautifulSoup]) -> None:
    """Neither on the pages nor in the notebooks that Colab opens; 20 letters of a line are no coincidence."""
    notebooks = {path: path.read_text("utf-8") for path in (SITE.parent / "colab").rglob("*.ipynb")}
    assert {path.stem for path in notebooks} == {page.stem for page in soups if page.parent.name == "notebooks"}
    public = {page: soup.get_text() for page, soup in soups.items()} | notebooks
    stripped = [
        exercises.without_solutions(nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4))
        for chapter in specs.CHAPTERS
    ]
    told = "\n".join(cell.source for notebook in stripped for cell in notebook.cells)  # the chapters' own code
    for chapter in specs.CHAPTERS:
        tasks = exercises.of_chapter(ROOT, chapter)
        secret = [line for exercise in tasks for line in exercises.solution_lines(exercise)]
        secret += Path(specs.__file__).with_name(f"{specs.CHAPTERS[chapter]}.py").read_text("utf-8").splitlines()[10:]
        for line in {line.strip() for line in secret if len(line.strip()) >= 20}:
            found = [str(place) for place, text in public.items() if line in text or json.dumps(line)[1:-1] in text]
            assert not found or line in told, f"{line!r} stands in {found}"


def test_chapters_can_be_opened_in_colab_and_downloaded(site: Path, soups: dict[Path, BeautifulSoup]) -> None:
    """The theme's launch button and the card beneath the title lead to the chapter's notebook; it installs tlib."""
    for page, soup in soups.items():
        if page.parent == site / "notebooks":
            links = [a["href"] for a in soup.find_all("a", href=True) if "colab.research.google.com" in a["href"]]
            assert len(links) >= 2 and all(link.endswith(f"/notebooks/{page.stem}.ipynb") for link in links), page
            (download,) = soup.select(".chapter-card a[download]")
            notebook = (page.parent / download["href"]).resolve().read_text(encoding="utf-8")
            assert f"git+https://github.com/{os.environ.get('GITHUB_REPOSITORY') or STAND_IN}@" in notebook


def test_claims_can_be_filtered(server: str, browser: Browser) -> None:
    """By verdict, chapter and profile; sections without a claim go too, and "all" brings everything back."""
    page = browser.new_page()
    page.goto(f"{server}/book/results.html")
    everything = page.locator(".claim:visible").count()
    sections = page.locator("section:has(> .claim):visible").count()
    for facet, value in (("verdict", "inconclusive"), ("chapter", "03 ULMFiT"), ("profile", "laptop")):
        page.select_option(f".claim-filter select[name={facet}]", value)
        shown = page.locator(".claim:visible").evaluate_all("(nodes, facet) => nodes.map(n => n.dataset[facet])", facet)
        assert shown and set(shown) == {value}
        assert page.locator(".claim-filter output").text_content() == f"{len(shown)} of {everything} claims"
        if facet == "chapter":
            assert page.locator("section:has(> .claim):visible").count() == 1 < sections
    for facet in ("verdict", "chapter", "profile"):
        page.select_option(f".claim-filter select[name={facet}]", "")
    assert page.locator(".claim:visible").count() == everything > len(shown)
    page.close()


def test_records_can_be_downloaded(site: Path, soups: dict[Path, BeautifulSoup]) -> None:
    """The results page leads to files that hold the claims it shows."""
    page = site / "book" / "results.html"
    links = [page.parent / a["href"] for a in soups[page].find_all("a", href=True) if "_downloads" in a["href"]]
    files = {link.name: link.resolve().read_text("utf-8") for link in links}
    assert set(files) == {"records.json", "claims.csv"}
    claims = [
        c["id"] for runs in json.loads(files["records.json"]).values() for r in runs.values() for c in r["claims"]
    ]
    assert (
        len(claims) == len(soups[page].select(".claim")) == len(list(csv.DictReader(files["claims.csv"].splitlines())))
    )


def test_search_finds_a_word(server: str, browser: Browser) -> None:
    """A reader types a word into the search field and is led to a page that has it."""
    page = browser.new_page()
    page.goto(f"{server}/book/index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("discriminative")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?*")
    page.wait_for_selector("#search-results li a")
    results = page.locator("#search-results li a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    page.close()
    assert any("glossary" in link for link in results), results
