"""What the website shows of the records: verdicts, chapter cards, the list of papers, the README's table.

`generate` fills a staging copy of the book before Jupyter Book turns it into pages. The sentences live in `book/*.md`,
the markup in `book/_fragments/*.j2`; this module only reads records and works out what the two need to show.
"""

import csv
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlib import glossary
from tlib.drawings import PLOT_WIDTH, field_map, plot
from tlib.records import PROFILES, SIGNS, VERDICTS, describe, read_record, unit

# The address that _config.yml and the how-to pages carry until GITHUB_REPOSITORY names the real one.
STAND_IN = "your_account/transfer-learning-recreated"
CLAIM_COLUMNS = ("id", "statement", "metric", "kind", "margin", "effect", "low", "high", "verdict", "expected", "seeds")
CLAIM_COLUMNS += ("items", "paper", "reported")
MATHJAX = ("3.2.2", "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09")
MATHJAX_PARTS = (  # what book.js names, at half of the size of the one file with all; extensions and fonts at need
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions/*.js",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "output/chtml/fonts/woff-v2/*.woff",
    "a11y/assistive-mml.js",
)


class SiteError(RuntimeError):
    """The site cannot be generated; the message names the file and the remedy."""


@dataclass(frozen=True)
class Chapter:
    """One of the twenty papers, as `book/papers.yml` lists it, with the records that its chapter left so far."""

    slug: str
    name: str
    cite: str
    authors: str
    year: int
    idea: str
    short: str = ""
    builds_on: list[str] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """Two digits, as in the file names."""
        return self.slug[:2]

    @property
    def finished(self) -> bool:
        """Whether the chapter has been run in any profile."""
        return bool(self.records)


@dataclass(frozen=True)
class Part:
    """A part of the book; `page` is its opening page in `book/`, without `.md`."""

    title: str
    page: str
    idea: str
    chapters: list[Chapter]

    @property
    def begun(self) -> bool:
        """Whether one of its chapters is finished, so that its opening page is in the book."""
        return any(chapter.finished for chapter in self.chapters)


def generate(stage: Path, records: Path) -> None:
    """Write everything generated into the staging copy `stage`, from the records in `records/<profile>/<chapter>.json`.

    Fills the marked places of the front page, the parts' pages, the results page and the instructors' page, writes the
    records as files to download, puts a card beneath the title of every chapter, links its terms to the glossary and
    folds its hints, numbers the chapters in the table of contents, sets the repository's address (`GITHUB_REPOSITORY`,
    if set) and adds MathJax, so that pages load nothing from elsewhere.

    Raises:
        SiteError: a record without a paper, a page without its marked place, a glossary without its terms, a malformed
            `GITHUB_REPOSITORY`.
    """
    import yaml

    parts = load_parts(stage / "book" / "papers.yml", records)
    repository = _set_repository(stage)
    for name, page in (("claims", "index.md"), ("papers", "index.md"), ("map", "index.md"), ("results", "results.md")):
        _fill(stage / "book" / page, name, _render(stage, f"{name}.md.j2", parts=parts))
    for part in parts:
        if (page := stage / "book" / f"{part.page}.md").exists():
            _fill(page, "chapters", _render(stage, "part.md.j2", part=part))
    _write_downloads(parts, stage / "book" / "_static" / "records")
    grading = json.loads((records / "grading.json").read_text(encoding="utf-8"))
    _fill(stage / "book/how-to/instructors.md", "grading", _render(stage, "grading.md.j2", grading=grading))
    year = yaml.safe_load((stage / "_config.yml").read_text(encoding="utf-8"))["copyright"]
    terms = _terms(stage / "book" / "glossary.md")
    _name_chapters(stage / "_toc.yml", _chapters(parts))
    for chapter in _chapters(parts):
        notebook = stage / "notebooks" / f"{chapter.slug}.ipynb"
        if notebook.exists() and chapter.finished:
            glossary.link_notebook(notebook, terms)
            _fold_hints(notebook)
            colab = f"https://colab.research.google.com/github/{repository}/blob/colab/notebooks/{notebook.name}"
            card = {"chapter": chapter, "colab": colab, "minutes": reading_minutes(notebook), "year": year}
            _insert_card(notebook, _render(stage, "card.md.j2", **card, address=f"https://github.com/{repository}"))
    _add_mathjax(stage / "book" / "_static" / "mathjax")


def _name_chapters(toc: Path, chapters: list[Chapter]) -> None:
    """Give chapters numbers and short names in the table of contents: the sidebar has no room for whole titles."""
    import yaml

    names = {f"notebooks/{chapter.slug}": f"{chapter.number} {chapter.name}" for chapter in chapters}
    contents = yaml.safe_load(toc.read_text(encoding="utf-8"))
    for entry in (entry for part in contents.get("parts", []) for entry in part["chapters"]):
        if entry["file"] in names:
            entry["title"] = names[entry["file"]]
    toc.write_text(yaml.safe_dump(contents, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _terms(page: Path) -> list[str]:
    try:
        return glossary.terms(page.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SiteError(f"{page.name}: {error}; explain them there, or mend `tlib.glossary.NOT_LINKED`") from error


def readme_table(records: Path) -> str:
    """The README's table of chapters in Markdown, for records kept at `book/results` of a checkout."""
    lines = ["| | Chapter | Paper | State | Verdicts (laptop) |", "|---|---|---|---|---|"]
    for chapter in _chapters(load_parts(records.parent / "papers.yml", records)):
        title = f"[{chapter.name}](notebooks/{chapter.slug}.ipynb)" if chapter.finished else chapter.name
        state = "finished" if chapter.finished else "planned"
        counts = ", ".join(f"{n} {verdict}" for verdict, n in verdict_counts(chapter.records.get("laptop", {})).items())
        lines.append(f"| {chapter.number} | {title} | {chapter.authors} ({chapter.year}) | {state} | {counts} |")
    return "\n".join(lines) + "\n"


def load_parts(papers: Path, records: Path) -> list[Part]:
    """The parts of the book in order, each chapter with the records found under `records`."""
    import yaml

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for profile in PROFILES:
        for path in sorted((records / profile).glob("*.json")):
            found.setdefault(path.stem, {})[profile] = read_record(path)
    parts = []
    for entry in yaml.safe_load(papers.read_text(encoding="utf-8")):
        chapters = [Chapter(**facts, records=found.pop(facts["slug"], {})) for facts in entry["chapters"]]
        parts.append(Part(entry["part"], entry["page"], entry["idea"], chapters))
    if found:
        names = ", ".join(sorted(found))
        raise SiteError(f"{papers.name} lists no chapter for the records of {names}: add an entry.")
    return parts


def verdict_counts(record: dict[str, Any]) -> dict[str, int]:
    """How many claims of a record came out each way; verdicts that none has are left out."""
    counts = Counter(claim["verdict"] for claim in record.get("claims", []))
    return {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}


def reading_minutes(notebook: Path) -> int:
    """How long a chapter's prose takes to read, at 200 words a minute; code and its outputs are not counted."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    prose = " ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return max(1, round(len(prose.split()) / 200))


def claim_rows(parts: list[Part]) -> list[dict[str, Any]]:
    """Every claim of every record as one flat row, for the table to download; effects are in the metric's own unit."""
    rows = []
    for chapter in _chapters(parts):
        for profile, record in chapter.records.items():
            run = {"chapter": chapter.slug, "profile": profile, "device": record["device"]}
            for claim in record["claims"]:
                flat = claim | dict(zip(("low", "high"), claim["interval"], strict=True))
                rows.append(run | {column: flat.get(column) for column in CLAIM_COLUMNS})
    return rows


def _write_downloads(parts: list[Part], folder: Path) -> None:
    """The records for readers who count for themselves: `records.json`, whole, and `claims.csv`, a flat table."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {chapter.slug: chapter.records for chapter in _chapters(parts) if chapter.finished}
    (folder / "records.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    rows = claim_rows(parts)
    with (folder / "claims.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["chapter"], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def duration(seconds: float) -> str:
    """A run time in print: `48 s`, `4 min 10 s`, `2 h 5 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds % 60 else "")
    return f"{seconds // 3600} h" + (f" {seconds % 3600 // 60} min" if seconds % 3600 >= 60 else "")


def memory(megabytes: float) -> str:
    """A peak of memory in print, in GB from one GB on."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def _chapters(parts: list[Part]) -> list[Chapter]:
    return [chapter for part in parts for chapter in part.chapters]


def _render(stage: Path, template: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(stage / "book" / "_fragments"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    helpers = (claim_rows, describe, duration, field_map, memory, plot, unit, verdict_counts)
    environment.globals.update(
        {helper.__name__: helper for helper in helpers}, PROFILES=PROFILES, SIGNS=SIGNS, PLOT_WIDTH=PLOT_WIDTH
    )
    return environment.get_template(template).render(**values)


def _fill(page: Path, name: str, content: str) -> None:
    """Replace the line `% generated: name` of a page by `content`."""
    marker = f"% generated: {name}\n"
    text = page.read_text(encoding="utf-8")
    if text.count(marker) != 1:
        raise SiteError(f"{page.name} must hold the line {marker.strip()!r} exactly once.")
    page.write_text(text.replace(marker, content), encoding="utf-8")


def _insert_card(notebook: Path, card: str) -> None:
    """Put `card` into a new Markdown cell after the first one, which holds the chapter's title."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cell = {"cell_type": "markdown", "id": "chapter-card", "metadata": {}, "source": card}
    content["cells"].insert(1, cell)
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _fold_hints(notebook: Path) -> None:
    """Fold the hint of each exercise, so that a reader can try without it."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            cell["source"] = re.sub(r"\s*\*Hint:\* (.+)", r"\n\n:::{dropdown} Hint\n\1\n:::", text)
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _set_repository(stage: Path) -> str:
    """Write the repository's `owner/name` over the stand-in, in the configuration and in every page, and return it."""
    repository = os.environ.get("GITHUB_REPOSITORY") or STAND_IN
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SiteError(f"GITHUB_REPOSITORY is {repository!r}; expected owner/name.")
    for page in (stage / "_config.yml", *stage.glob("book/**/*.md"), *stage.glob("**/*.ipynb")):
        page.write_text(page.read_text(encoding="utf-8").replace(STAND_IN, repository), encoding="utf-8")
    return repository


def _add_mathjax(folder: Path) -> None:
    """Copy MathJax out of its verified package into the static files."""
    from tlib.data import archives, sources
    from tlib.data.catalogue import Archive

    version, sha256 = MATHJAX
    archive = Archive("npm", "mathjax", version, f"mathjax-{version}.tgz", sha256)
    path, package = sources.fetch(archive, "MathJax, for the website"), "package/es5/"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "LICENSE").write_bytes(archives.member(path, "package/LICENSE"))
    for part in MATHJAX_PARTS:
        for member, content in archives.members(path, package + part):
            target = folder / member.removeprefix(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
