"""The `tlib` command: every command calls one function of the library and prints what it says."""

import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tlib import data, paths, records
from tlib.pipeline import BookError, Project, build_book, run_chapters

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Run chapters, build the book."
)
data_app = typer.Typer(no_args_is_help=True, help="The data sets of the catalogue.")
app.add_typer(data_app, name="data")


class Profile(StrEnum):
    """How large a chapter runs; book/how-to/readers.md says what each needs."""

    laptop = "laptop"
    colab = "colab"
    paper = "paper"


ProfileOption = Annotated[Profile, typer.Option(envvar="TLIB_PROFILE", help="How large the chapters run.")]
Names = Annotated[list[str] | None, typer.Argument(help="Names from `tlib data list`; all archives if none given.")]
README_START, README_END = "<!-- chapters:start -->\n", "<!-- chapters:end -->"


@app.command()
def book(profile: ProfileOption = Profile.laptop) -> None:
    """Run every changed chapter once and build the website in _build/html."""
    build_book(Project(_checkout(), profile.value))


@app.command("pdf")
def print_book(profile: ProfileOption = Profile.laptop) -> None:
    """Print the book as it was last built: _build/transfer-learning-recreated.pdf."""
    from tlib import pdf

    folder = Project(_checkout(), profile.value).build
    if not (folder / "stage").is_dir():
        raise BookError("there is no book to print: run `make book` first")
    print(pdf.build(folder / "stage", folder / "pdf", folder / "transfer-learning-recreated.pdf"))


@app.command()
def run(
    chapters: Annotated[list[str] | None, typer.Argument(help="As 03_ulmfit; all when none is given.")] = None,
    profile: ProfileOption = Profile.laptop,
    accept: Annotated[bool, typer.Option(help="Make the new record the committed one, changed verdicts too.")] = False,
) -> None:
    """Run chapters, changed or not, and show the verdicts of their claims."""
    project = Project(_checkout(), profile.value)
    for name, record in run_chapters(project, chapters or project.chapters(), accept).items():
        _show(name, record)
    if accept:
        readme = project.root / "README.md"
        readme.write_text(with_chapter_table(readme.read_text(encoding="utf-8"), project.root), encoding="utf-8")


@app.command()
def claims(profile: ProfileOption = Profile.laptop) -> None:
    """Show the committed verdict of every claim."""
    paths_of_records = sorted(Project(_checkout(), profile.value).committed.glob("*.json"))
    for path in paths_of_records:
        _show(path.stem, records.read_record(path))
    if not paths_of_records:
        print(f"no chapter has a committed record at the {profile.value} profile")


@app.command()
def pretrain(
    names: Annotated[list[str] | None, typer.Argument(help="As in tlib/checkpoints; all if none given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the checkpoint and its card.")] = None,
) -> None:
    """Train shipped checkpoints anew; a stopped run is resumed."""
    from tlib import pretrain

    for name in names or pretrain.RECIPES:
        print(pretrain.run(name, out=out))


@app.command()
def power(
    effect: Annotated[
        float | None,
        typer.Argument(help="The true effect, in the metric's own unit (0.03 for 3 points); none: a table."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each arm.")] = 5,
    items: Annotated[int, typer.Option(help="Test items, the same for every seed.")] = 1000,
) -> None:
    """How often a claim with this true effect would be confirmed, by simulation."""
    from tlib.claims import power, power_table

    if effect is None:
        print(power_table())
        return
    share = power(effect, seeds, items)
    print(f"a true effect of {effect:g} is confirmed in {share:.0%} of experiments of {seeds} seeds, {items:,} items")


@app.command()
def assign(
    chapters: Annotated[list[str], typer.Argument(help="As 03_ulmfit.")],
    out: Annotated[Path, typer.Option(help="Folder for what students and instructors get.")] = Path("assignments"),
) -> None:
    """Make graded course work of chapters: notebooks for students and instructors, rubric, ZIP."""
    from tlib.course import assignment

    for chapter in chapters:
        for path in assignment.write(_checkout(), chapter, out):
            print(path)


@app.command()
def grade(
    submissions: Annotated[list[Path], typer.Argument(help="Notebooks, folders, or ZIP exports of a platform.")],
    chapter: Annotated[str, typer.Option(help="The chapter that was set, as 03_ulmfit.")],
    out: Annotated[Path, typer.Option(help="Folder for marks and feedback; keep it between runs.")],
    roster: Annotated[
        Path | None, typer.Option(help="A file with one student a line, as the export names them.")
    ] = None,
    due: Annotated[datetime | None, typer.Option(help="Files handed in after it are marked as late.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Submissions that run at the same time.")] = 2,
    weak_isolation: Annotated[bool, typer.Option(help="Grade without bubblewrap: see the instructors' page.")] = False,
) -> None:
    """Grade submissions: student code runs shut away, and is compared with the reference outside."""
    from tlib.course import grading, sandbox

    task, box = grading.assignment(_checkout(), chapter), sandbox.choose(weak_isolation)
    print(f"isolation: {box.isolation}")
    students = roster.read_text(encoding="utf-8-sig").split("\n") if roster else []
    expected = [name.strip() for name in students if name.strip()]
    rows = grading.grade(task, submissions, out, box, roster=expected, due=due, workers=workers)
    for row in rows:
        print(f"{row['points']:3} of {row['of']}  {row['student']}{'  late' if row['late'] else ''}  {row['note']}")
    print(f"marks: {out / 'marks.csv'}, feedback: {out / 'feedback'}")


@data_app.command("list")
def list_data() -> None:
    """Every data set with its licence and what it is."""
    for name in data.names():
        entry = data.info(name)
        print(f"{name:20} {entry.licence}\n{'':20} {entry.about}")


@data_app.command("get")
def get_data(names: Names = None) -> None:
    """Fetch data sets into the cache, checked by SHA-256."""
    for name in names or _with_archives():
        print(f"{name:20} {data.fetch(name)}")


@data_app.command("verify")
def verify_data(names: Names = None) -> None:
    """Fetch, read and count data sets anew."""
    for name in names or _with_archives():
        data.verify(name)
        print(f"{name:20} is what the catalogue says")


def main() -> None:
    """Entry point: an error that a message explains ends the command with that message and exit status 1."""
    from tlib.course import CourseError
    from tlib.pdf import PdfError
    from tlib.pretrain import PretrainError
    from tlib.site import SiteError

    sys.stdout.reconfigure(line_buffering=True)  # so that our lines and pytest's keep their order in a log
    try:
        app()
    except (BookError, CourseError, PdfError, PretrainError, SiteError, data.DataError, records.RecordError) as error:
        sys.exit(f"tlib: {error}")


def _with_archives() -> list[str]:
    return [name for name in data.names() if data.info(name).archives]


def _checkout() -> Path:
    root = paths.root()
    if root is None:
        raise BookError("this command needs a checkout of the book, and tlib was installed without one")
    return root


def with_chapter_table(readme: str, root: Path) -> str:
    """The README's text, the table between its markers made anew from the committed records of the checkout."""
    from tlib import site

    head, _, rest = readme.partition(README_START)
    table = site.readme_table(root / "book" / "results").strip()
    return f"{head}{README_START}{table}\n{README_END}{rest.partition(README_END)[2]}"


def _show(chapter: str, record: dict[str, Any]) -> None:
    """Print one line for each claim: its verdict, and its effect with the interval."""
    print(f"{chapter} ({record['profile']} profile)")
    for claim in record["claims"]:
        effect = records.describe(claim["metric"], claim["effect"], claim["interval"])
        print(f"  {claim['verdict']:13} {claim['id']:28} {effect}")
