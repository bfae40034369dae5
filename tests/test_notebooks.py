"""Every chapter keeps the contract that book/authors/index.md describes, as far as its text can show it."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from programs.tiny_chapter import SIZES

from tlib.pipeline import Project

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_LINES = 45
FORBIDDEN = {
    r"\.cuda\(": "use `.to(ch.device)`: a chapter runs with and without a GPU",
    r"^\s*from\s+\S+\s+import\s+\*": "import names one by one, so that a reader can look each up",
    r"[A-Za-z0-9+/]{200,}": "no embedded binary data",
    r"trust_remote_code\s*=\s*True|torch\.load\(|pickle\.load": "nothing fetched is unpickled or run",
}


def problems(name: str, notebook: NotebookNode) -> list[str]:
    """What keeps the notebook from being a chapter, one sentence each; nothing when it is one."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    for index, cell in enumerate(notebook.cells):
        found += [f"cell {index}: {reason}" for reason in _cell_problems(cell)]
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) < len(ids):
        found.append("every cell needs an id of its own (nbformat 4.5; strip with nbstripout --keep-id)")
    first = cells[0].source if cells else ""
    if not all(part in first for part in ('find_spec("tlib") is None', "%pip install", "@{RELEASE}")):
        found.append("the first code cell installs tlib, of the release that RELEASE names, where it is missing")
    calls = list(_calls(cells))
    starts = [call for call in calls if ast.unparse(call.func) == "tlib.start"]
    if [ast.literal_eval(call.args[0]) for call in starts] != [name]:
        found.append(f'it calls tlib.start("{name}", ...) once')
    values = [word.value for call in starts for word in call.keywords if word.arg == "data"]
    started_with = [name for value in values for name in ast.literal_eval(value)]
    declared = notebook.metadata.get("tlib", {}).get("data", [])
    if sorted(declared) != sorted(started_with):
        found.append(f"its metadata declares the data {declared}, but tlib.start has {started_with}")
    if not claim_ids(notebook):
        found.append("it declares no claim: ch.claim(...)")
    if not any(_method(call) == "control" for call in calls):
        found.append("no claim has a negative control: claim.control(...)")
    if not cells or not any(_method(call) == "finish" for call in _calls(cells[-1:])):
        found.append("the last code cell calls ch.finish()")
    return found


def claim_ids(notebook: NotebookNode) -> list[str]:
    """The ids of the claims that the notebook declares in so many words."""
    calls = _calls([cell for cell in notebook.cells if cell.cell_type == "code"])
    ids = [call.args[0] for call in calls if _method(call) == "claim" and call.args]
    return [node.value for node in ids if isinstance(node, ast.Constant)]


def _cell_problems(cell: NotebookNode) -> Iterator[str]:
    if cell.get("attachments"):
        yield "no attachments: make the figure, or put the file into book/_static"
    for pattern, reason in FORBIDDEN.items():
        if re.search(pattern, cell.source, re.MULTILINE):
            yield reason
    if cell.cell_type == "code":
        if cell.outputs or cell.execution_count is not None:
            yield "it has outputs: strip them with nbstripout --keep-id"
        if (lines := len(cell.source.splitlines())) > MOST_LINES:
            yield f"{lines} lines, at most {MOST_LINES}: split it where the reader would pause"


def _calls(cells: list[NotebookNode]) -> Iterator[ast.Call]:
    for cell in cells:
        tree = ast.parse(TransformerManager().transform_cell(cell.source))
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _method(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else None


def skeleton() -> NotebookNode:
    """The skeleton of a chapter in CONTRIBUTING.md, as a notebook."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    source = re.search(r"<!-- skeleton:start -->\n```python\n(.*?)```", text, re.DOTALL)[1]
    notebook = jupytext.reads(source, fmt="py:percent")
    notebook.nbformat_minor = 5
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_keeps_the_contract(path: Path) -> None:
    assert problems(path.stem, nbformat.read(path, 4)) == []


@pytest.mark.parametrize(("name", "sizes"), SIZES.items(), ids=list(SIZES))
def test_the_sizes_of_a_tiny_run_are_those_of_the_chapter(name: str, sizes: dict[str, int]) -> None:
    source = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert all(f'\\"{size}\\": ' in source for size in sizes)


def test_every_published_chapter_has_a_committed_record_of_its_claims() -> None:
    for name in Project(ROOT).chapters():
        record = ROOT / "book" / "results" / "laptop" / f"{name}.json"
        assert record.exists(), f"make it with: tlib run {name} --accept"
        recorded = {claim["id"] for claim in json.loads(record.read_text(encoding="utf-8"))["claims"]}
        assert set(claim_ids(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4))) <= recorded


def test_the_skeleton_in_the_contributors_guide_keeps_the_contract() -> None:
    notebook = skeleton()
    assert problems("03_ulmfit", notebook) == []
    assert claim_ids(notebook) == ["pretraining"]
    method = next(cell.source for cell in notebook.cells if "def stlr" in cell.source)
    exec(method, {})  # its check holds


BREAKS = {
    "cell 2: it has outputs": lambda cells: cells[2].update(execution_count=4),
    "cell 1: 60 lines, at most 45": lambda cells: cells[1].update(source="x = 1\n" * 60),
    "every cell needs an id": lambda cells: cells[2].update(id=cells[1]["id"]),
    "the first code cell installs tlib": lambda cells: cells.pop(1),
    'it calls tlib.start("03_ulmfit"': lambda cells: cells[2].update(source="ch = tlib.start('04_bert')"),
    "its metadata declares the data": lambda cells: cells[2].update(source="ch = tlib.start('03_ulmfit', data=[])"),
    "it declares no claim": lambda cells: cells.pop(4),
    "no claim has a negative control": lambda cells: cells[-1].update(source="ch.finish()"),
    "the last code cell calls ch.finish()": lambda cells: cells[-1].update(source="a.control('x', b, c)"),
    "cell 6: use `.to(ch.device)`": lambda cells: cells[6].update(source="model.cuda()"),
    "cell 6: import names one by one": lambda cells: cells[6].update(source="from tlib import *"),
    "cell 5: no embedded binary data": lambda cells: cells[5].update(
        source="![](data:image/png;base64," + "iVBORw" * 99
    ),
    "cell 5: no attachments": lambda cells: cells[5].update(attachments={"a.png": {}}),
}


@pytest.mark.parametrize("expected", BREAKS)
def test_each_break_of_the_contract_is_named(expected: str) -> None:
    notebook = skeleton()
    BREAKS[expected](notebook.cells)
    assert any(problem.startswith(expected) for problem in problems("03_ulmfit", notebook))
