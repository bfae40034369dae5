"""Links to the glossary: which words of a page get one, and which text is left alone."""

import json
from pathlib import Path

import pytest

from tlib import glossary

PAGE = """# Glossary

```{glossary}
:sorted:

Seed
  A number; see {term}`Language model`.

Language model
  It predicts text.

Target language model
  One of the target text.

Point
  A hundredth of an accuracy.
```
"""
NAMES = ["Seed", "Language model", "Target language model"]


def test_terms_are_read_but_for_everyday_words() -> None:
    assert glossary.terms(PAGE, not_linked=["Point"]) == NAMES
    with pytest.raises(ValueError, match="explains no terms"):
        glossary.terms("# Glossary\n", not_linked=[])
    with pytest.raises(ValueError, match="Robot"):
        glossary.terms(PAGE, not_linked=["Robot"])


def test_the_books_own_glossary_can_be_read() -> None:
    page = Path(__file__).parents[1] / "book" / "glossary.md"
    assert {"Pretraining", "Fine-tuning", "Verdict"} <= set(glossary.terms(page.read_text(encoding="utf-8")))


def test_the_first_use_on_a_page_is_linked_and_no_other() -> None:
    linked = glossary.link(["Two seeds, one seed.", "A seed. Seedy, re-seed, seed-like."], NAMES)
    assert linked == ["Two {term}`seeds <Seed>`, one seed.", "A seed. Seedy, re-seed, seed-like."]


def test_the_longest_term_wins() -> None:
    (linked,) = glossary.link(["The Target language model, and\na language model."], NAMES)
    assert linked == (
        "The {term}`Target language model <Target language model>`, and\na {term}`language model <Language model>`."
    )


@pytest.mark.parametrize(
    "text",
    [
        "## Seed",
        "`seed`",
        "$seed$",
        "$$\nseed\n$$",
        "[the seed](page.md)",
        "[seed][1]",
        "{doc}`a seed </page>`",
        "| seed | 1 |",
        "% seed",
        ":::{dropdown} Why a seed?",
        "```python\nseed = 1\n```",
        "  ````{note}\n```\nseed\n```\nseed\n  ````",
        '<a title="seed">',
        "![seed](seed.png)",
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    before, *rest = glossary.link([text, "A seed."], NAMES)
    assert before == text and rest == ["A {term}`seed <Seed>`."]


def test_a_notebook_keeps_its_title_its_code_and_its_ids(tmp_path: Path) -> None:
    def cell(kind: str, name: str, source: str) -> dict:
        code = {"execution_count": None, "outputs": []} if kind == "code" else {}
        return {"cell_type": kind, "id": name, "metadata": {}, "source": source} | code

    cells = [cell("markdown", "a", "# A seed"), cell("code", "b", "seed = 1"), cell("markdown", "c", "One seed.")]
    path = tmp_path / "page.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    glossary.link_notebook(path, NAMES)
    after = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert [c["id"] for c in after] == ["a", "b", "c"]
    assert ["".join(c["source"]) for c in after] == ["# A seed", "seed = 1", "One {term}`seed <Seed>`."]
