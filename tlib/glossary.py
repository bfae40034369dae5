"""Links from the first use of each term on a page to the glossary, put in when the site is staged.

The notebooks hold plain words, since a role such as {term}`...` would show raw in Colab.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat

NOT_LINKED = ("Point", "Record", "Transfer")  # everyday words, whose first use on a page is often another

# What is left alone: fenced blocks, directives' marks, headings, comments, tables, formulas, code, roles, links, tags.
_ALONE = (
    r"^[ \t]*(?P<fence>```+|~~~+).*?^[ \t]*(?P=fence)",
    r"^[ \t]*(?::::|#|%|\|).*?$",
    r"\$\$.*?\$\$",
    r"\$[^$\n]+\$",
    r"(?:\{[\w:-]+\})?(?P<ticks>`+).*?(?P=ticks)",
    r"!?\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])",
    r"</?\w[^>]*>",
)


def terms(glossary: str, not_linked: Sequence[str] = NOT_LINKED) -> list[str]:
    """The terms that a page's `glossary` directive explains, without those that are not to be linked.

    Raises:
        ValueError: the page's text has no glossary, or it lacks a term of `not_linked`.
    """
    found = re.search(r"^```\{glossary\}\n(.*?)^```", glossary, flags=re.MULTILINE | re.DOTALL)
    names = re.findall(r"^(\w.*)$", found[1], flags=re.MULTILINE) if found else []
    unknown = set(not_linked) - set(names)
    if not names or unknown:
        raise ValueError(f"the page explains no terms, or lacks some that are not to be linked: {sorted(unknown)}")
    return [name for name in names if name not in not_linked]


def link(texts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Markdown cells of one page, in order, with the first use of each term as a link; plurals in -s count too.

    The longest term that fits wins: "target language model" is not taken for a "language model".
    """
    by_use = {name.lower(): name for name in names}
    words = "|".join(re.escape(use) for use in sorted(by_use, key=len, reverse=True))
    pattern = re.compile(
        "|".join([*_ALONE, rf"(?<![\w-])(?P<use>(?P<term>{words})s?)(?![\w-])"]),
        flags=re.MULTILINE | re.DOTALL | re.IGNORECASE,
    )
    used: set[str] = set()

    def linked(found: re.Match[str]) -> str:
        if found["term"] is None or found["term"].lower() in used:
            return found[0]
        used.add(found["term"].lower())
        return f"{{term}}`{found['use']} <{by_use[found['term'].lower()]}>`"

    return [pattern.sub(linked, text) for text in texts]


def link_notebook(path: Path, names: Sequence[str]) -> None:
    """Link the terms of a staged notebook's prose, in place, but not in its title."""
    notebook = nbformat.read(path, as_version=4)
    prose = [cell for cell in notebook.cells[1:] if cell.cell_type == "markdown"]
    for cell, source in zip(prose, link([cell.source for cell in prose], names), strict=True):
        cell.source = source
    nbformat.write(notebook, path)
