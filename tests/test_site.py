"""What `tlib.site` makes of records: the generated places of the staged book, and the README's table."""

import csv
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tlib import data, drawings, site
from tlib.data import sources

ROOT = Path(__file__).parents[1]
PAPERS = ROOT / "book" / "papers.yml"
RECORD = Path("book/results/laptop/03_ulmfit.json")


def claim(id: str = "low-shot", **changes: Any) -> dict[str, Any]:
    """A claim of a record: +3.1 points of accuracy, confirmed."""
    return {
        "id": id,
        "statement": "A pretrained start beats a random one, even where <i>n</i> is small.",
        "paper": "Figure 3",
        "reported": "100 labels match 1,000",
        "metric": "accuracy",
        "kind": "difference",
        "margin": 0.0,
        "expected": "confirmed",
        "seeds": 5,
        "items": 1000,
        "treatment": {"mean": 0.801, "per_seed": [0.801]},
        "baseline": {"mean": 0.77, "per_seed": [0.77]},
        "effect": 0.031,
        "interval": [0.012, 0.05],
        "verdict": "confirmed",
        "fragile": False,
        "control": {"name": "shuffled", "effect": 0.0, "interval": [-0.01, 0.01], "verdict": "inconclusive"},
    } | changes


def record(*claims: dict[str, Any], profile: str = "laptop") -> dict[str, Any]:
    """A record of chapter 03."""
    run = {"chapter": "03_ulmfit", "profile": profile, "device": "cpu (x86_64)", "threads": 1, "wall_s": 250.4}
    return run | {"peak_mb": 1843, "commit": None, "notes": {"parameters": 24, "curve": [1]}, "claims": list(claims)}


def keep(records: Path, content: dict[str, Any]) -> None:
    """Write a record where a chapter would."""
    path = records / content["profile"] / f"{content['chapter']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A staging copy: this book's pages, a chapter of one cell, its record; MathJax needs no network."""
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("results"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "book" / "results").mkdir()
    shutil.copy(ROOT / "book" / "results" / "grading.json", tmp_path / "book" / "results")
    (tmp_path / "notebooks").mkdir()
    cell = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# 03 ULMFiT"}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks" / "03_ulmfit.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    keep(tmp_path / "book" / "results", record(claim(), claim("two-ways", verdict="refuted", fragile=True)))

    package = tmp_path / "mathjax.tgz"
    with tarfile.open(package, "w:gz") as archive:
        for member in ("LICENSE", *(f"es5/{part.replace('*', 'some')}" for part in site.MATHJAX_PARTS)):
            archive.add(ROOT / "_config.yml", f"package/{member}")
    monkeypatch.setattr(sources, "fetch", lambda archive, name: package)
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    return tmp_path


def generate(stage: Path) -> None:
    """Generate from the stage's own records."""
    site.generate(stage, stage / "book" / "results")


def test_results_page_shows_every_claim_with_its_numbers(stage: Path) -> None:
    generate(stage)
    page = (stage / "book" / "results.md").read_text(encoding="utf-8")
    assert page.count('<div class="claim ') == 2
    assert "+3.1 points [+1.2, +5.0]" in page and "100 labels match 1,000 (Figure 3)" in page
    assert "80.1% against 77.0%" in page and "5 seeds, 1,000 test items" in page and "4 min 10 s" in page
    assert "shuffled: 0.0 points [−1.0, +1.0], inconclusive" in page
    assert "verdict-fragile" in page and "Profile colab: *not run*" in page and "Profile paper: *not run*" in page
    assert "<dt>parameters</dt>" in page and "<dt>curve</dt>" not in page


def test_records_can_be_downloaded_whole_and_as_a_table(stage: Path) -> None:
    generate(stage)
    folder = stage / "book" / "_static" / "records"
    whole = json.loads((folder / "records.json").read_text(encoding="utf-8"))
    assert whole == {"03_ulmfit": {"laptop": json.loads((stage / RECORD).read_text(encoding="utf-8"))}}
    with (folder / "claims.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["chapter"], row["id"], row["verdict"]) for row in rows] == [
        ("03_ulmfit", "low-shot", "confirmed"),
        ("03_ulmfit", "two-ways", "refuted"),
    ]
    assert [float(rows[0][key]) for key in ("effect", "low", "high", "seeds")] == [0.031, 0.012, 0.05, 5]
    assert rows[0]["statement"] == claim()["statement"]


def test_a_book_without_records_has_an_empty_table(stage: Path) -> None:
    (stage / RECORD).unlink()
    generate(stage)
    folder = stage / "book" / "_static" / "records"
    assert json.loads((folder / "records.json").read_text(encoding="utf-8")) == {}
    assert (folder / "claims.csv").read_text(encoding="utf-8") == "chapter\n"


def test_reading_time_counts_prose_and_no_code(tmp_path: Path) -> None:
    cells = [{"cell_type": "markdown", "source": ["word " * 500, "word " * 300]}]
    cells += [{"cell_type": "code", "source": "word " * 9000}]
    (tmp_path / "one.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert site.reading_minutes(tmp_path / "one.ipynb") == 4
    (tmp_path / "none.ipynb").write_text(json.dumps({"cells": []}), encoding="utf-8")
    assert site.reading_minutes(tmp_path / "none.ipynb") == 1


def test_text_of_a_record_cannot_become_markup(stage: Path) -> None:
    generate(stage)
    for page in ("index.md", "results.md"):
        assert "<i>n</i>" not in (stage / "book" / page).read_text(encoding="utf-8")


def test_front_page_lists_all_papers_and_links_only_finished_ones(stage: Path) -> None:
    generate(stage)
    page = (stage / "book" / "index.md").read_text(encoding="utf-8")
    assert page.count('<li class="planned">') == 19 and page.count('<li class="finished">') == 1
    assert set(re.findall(r"notebooks/(\w+)\.html", page)) == {"03_ulmfit"}
    assert re.findall(r"\]\((parts/[^)]*)\)", page) == ["parts/1-recurrent-beginnings.md"]


def test_front_page_has_a_mark_for_every_claim_and_names_the_refuted_ones(stage: Path) -> None:
    generate(stage)
    page = (stage / "book" / "index.md").read_text(encoding="utf-8")
    anchors = ["results.html#03_ulmfit-laptop-low-shot", "results.html#03_ulmfit-laptop-two-ways"]
    assert re.findall(r'class="mark verdict-\w+" href="([^"]+)"', page) == anchors
    assert "2 claims so far" in page and "1 confirmed" in page and "1 refuted" in page
    assert re.findall(r'<li><span class="verdict verdict-refuted">.*?href="([^"]+)"', page) == anchors[1:]


def test_a_book_without_refuted_claims_does_not_speak_of_any(stage: Path) -> None:
    keep(stage / "book" / "results", record(claim()))
    generate(stage)
    assert "Refuted, with" not in (stage / "book" / "index.md").read_text(encoding="utf-8")


def test_sidebar_numbers_the_chapters_and_leaves_other_pages_alone(stage: Path) -> None:
    before = yaml.safe_load((stage / "_toc.yml").read_text(encoding="utf-8"))
    generate(stage)
    after = yaml.safe_load((stage / "_toc.yml").read_text(encoding="utf-8"))
    titles = {entry["file"]: entry.pop("title", None) for part in after["parts"] for entry in part["chapters"]}
    assert titles["notebooks/03_ulmfit"] == "03 ULMFiT" and titles["book/results"] is None
    assert titles["book/parts/2-transformers"] == "About this part"
    for part in before["parts"]:
        for entry in part["chapters"]:
            entry.pop("title", None)
    assert after == before


def test_a_part_lists_its_chapters(stage: Path) -> None:
    generate(stage)
    page = (stage / "book" / "parts" / "1-recurrent-beginnings.md").read_text(encoding="utf-8")
    assert page.count('<li class="planned">') == 2 and page.count('<li class="finished">') == 1
    assert re.findall(r'href="([^"]+\.html)"', page) == ["../../notebooks/03_ulmfit.html"]


def test_hints_are_folded(stage: Path) -> None:
    notebook = stage / "notebooks" / "03_ulmfit.ipynb"
    content = json.loads(notebook.read_text(encoding="utf-8"))
    text = "### Exercise 1\n\nPool the states. *Hint:* mind the *padding*."
    content["cells"].append({"cell_type": "markdown", "id": "a-text", "metadata": {}, "source": text})
    notebook.write_text(json.dumps(content), encoding="utf-8")
    generate(stage)
    (folded,) = [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["id"] == "a-text"]
    assert folded["source"].endswith("Pool the states.\n\n:::{dropdown} Hint\nmind the *padding*.\n:::")


def test_nothing_is_left_to_fill(stage: Path) -> None:
    generate(stage)
    assert not [page for page in stage.glob("book/**/*.md") if "% generated" in page.read_text(encoding="utf-8")]


def test_card_stands_beneath_the_title_and_names_no_other_site_for_an_image(stage: Path) -> None:
    generate(stage)
    cells = json.loads((stage / "notebooks" / "03_ulmfit.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell["id"] for cell in cells] == ["title", "chapter-card"]
    card = cells[1]["source"]
    assert "1 confirmed" in card and "1 refuted" in card and "4 min 10 s" in card and "1.8 GB" in card
    assert "1 minutes" not in card and "@incollection{recreated03," in card and "chapter   = {3}," in card
    assert "<img" not in card and f"/github/{site.STAND_IN}/blob/colab/notebooks/03_ulmfit.ipynb" in card


def test_repository_comes_from_the_environment(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/book")
    generate(stage)
    assert yaml.safe_load((stage / "_config.yml").read_text())["repository"]["url"] == "https://github.com/someone/book"
    assert not [page for page in stage.glob("book/**/*.md") if site.STAND_IN in page.read_text(encoding="utf-8")]


def test_formulas_need_nothing_from_elsewhere(stage: Path) -> None:
    generate(stage)
    folder = stage / "book" / "_static" / "mathjax"
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == sorted(["LICENSE", *(part.replace("*", "some") for part in site.MATHJAX_PARTS)])
    config = yaml.safe_load((stage / "_config.yml").read_text(encoding="utf-8"))
    assert (folder.parent / config["sphinx"]["config"]["mathjax_path"]).is_file()
    loaded = re.search(r"loader: \{ load: \[(.*)\] \}", (folder.parent / "book.js").read_text(encoding="utf-8"))
    parts = re.findall(r'"([^"]+)"', loaded[1]) if loaded else []
    assert len(parts) == 4 and all(f"{part}.js" in files for part in parts)


def test_malformed_repository_is_refused(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "https://github.com/someone/book")
    with pytest.raises(site.SiteError, match="expected owner/name"):
        generate(stage)


def test_record_without_a_paper_is_refused(stage: Path) -> None:
    keep(stage / "book" / "results", record() | {"chapter": "21_unknown"})
    with pytest.raises(site.SiteError, match="21_unknown.*add an entry"):
        generate(stage)


def test_page_without_its_marked_place_is_refused(stage: Path) -> None:
    (stage / "book" / "results.md").write_text("# Results\n", encoding="utf-8")
    with pytest.raises(site.SiteError, match="results.md must hold"):
        generate(stage)


def test_glossary_without_terms_is_refused(stage: Path) -> None:
    (stage / "book" / "glossary.md").write_text("# Glossary\n", encoding="utf-8")
    with pytest.raises(site.SiteError, match="glossary.md: the page explains no terms"):
        generate(stage)


def test_readme_table(stage: Path) -> None:
    rows = site.readme_table(stage / "book" / "results").splitlines()
    assert len(rows) == 22
    assert rows[4] == (
        "| 03 | [ULMFiT](notebooks/03_ulmfit.ipynb) | Howard and Ruder (2018) | finished | 1 confirmed, 1 refuted |"
    )
    assert rows[5] == "| 04 | BERT | Devlin et al. (2019) | planned |  |"


SECONDS_IN_PRINT = [(47.6, "48 s"), (250.4, "4 min 10 s"), (299.8, "5 min"), (7200, "2 h"), (7500, "2 h 5 min")]


@pytest.mark.parametrize(("seconds", "text"), SECONDS_IN_PRINT)
def test_duration(seconds: float, text: str) -> None:
    assert site.duration(seconds) == text


def test_the_map_has_every_paper_once_and_leads_from_older_to_newer_papers() -> None:
    parts = site.load_parts(PAPERS, ROOT / "book" / "results")
    chapters = {chapter.number: chapter for part in parts for chapter in part.chapters}
    drawn = drawings.field_map(parts)
    places = [(x, y) for _, x, y in drawn["boxes"]]
    assert [chapter.number for chapter, _, _ in drawn["boxes"]] == sorted(chapters)
    assert len(set(places)) == 20, "no box covers another"
    width, height = drawn["box"]
    assert all(0 <= x <= drawn["width"] - width and 0 <= y <= drawn["height"] - height for x, y in places)
    assert len(drawn["lines"]) == sum(len(chapter.builds_on) for chapter in chapters.values()) > 19
    for chapter in chapters.values():
        assert all(chapters[older].year <= chapter.year and older != chapter.number for older in chapter.builds_on)


def test_plot_keeps_the_order_of_its_values_inside_its_width() -> None:
    at = drawings.plot(claim(kind="equivalence", margin=0.06))
    low, high, effect = at["claim"]
    assert 0 < at["margins"][1] < at["zero"] < low < effect < high < at["margins"][0] < drawings.PLOT_WIDTH
    assert drawings.plot(claim(effect=0.0, interval=[0.0, 0.0], control=None))["zero"] == drawings.PLOT_WIDTH / 2


def test_bibliography_and_contents_have_every_paper_and_data_set() -> None:
    chapters = [chapter for part in yaml.safe_load(PAPERS.read_text(encoding="utf-8")) for chapter in part["chapters"]]
    assert [chapter["slug"][:2] for chapter in chapters] == [f"{number:02}" for number in range(1, 21)]
    keys = set(re.findall(r"^@\w+\{([\w-]+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M))
    cited = {chapter["cite"] for chapter in chapters} | {data.info(name).citation_key for name in data.names()}
    assert cited <= keys
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"file: notebooks/([\w-]+)", contents)) <= {chapter["slug"] for chapter in chapters}
    for part in yaml.safe_load(PAPERS.read_text(encoding="utf-8")):
        assert (ROOT / "book" / f"{part['page']}.md").is_file()
        begun = any(f"file: notebooks/{chapter['slug']}\n" in contents for chapter in part["chapters"])
        assert (f"file: book/{part['page']}\n" in contents) == begun
