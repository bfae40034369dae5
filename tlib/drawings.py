"""Where everything stands in the drawings that the site makes of the records: plots of claims, the map of the field.

The markup is in `book/_fragments`; what comes from here are numbers in the units of its SVGs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlib.site import Part

PLOT_WIDTH = 480


def plot(claim: dict[str, Any]) -> dict[str, Any]:
    """Where the marks of a claim's plot stand, from 0 at its left to `PLOT_WIDTH` at its right.

    Keys: "zero", "margins", and for "claim" and "control" the low end, the high end and the effect.
    """
    control = claim.get("control") or {"effect": claim["effect"], "interval": claim["interval"]}
    margins = [claim["margin"], -claim["margin"]] if claim["kind"] == "equivalence" else [claim["margin"]]
    values = [0.0, *margins, *claim["interval"], *control["interval"]]
    low, high = min(values), max(values)
    pad = 0.08 * ((high - low) or 1.0)

    def x(value: float) -> float:
        return round(PLOT_WIDTH * (value - low + pad) / (high - low + 2 * pad), 1)

    return {
        "zero": x(0.0),
        "margins": [x(margin) for margin in margins],
        "claim": [x(value) for value in (*claim["interval"], claim["effect"])],
        "control": [x(value) for value in (*control["interval"], control["effect"])],
    }


def field_map(parts: list[Part]) -> dict[str, Any]:
    """Where everything stands on the map of the field: a column for each year, a band for each part.

    Keys: "width", "height", "box" (width, height), "years" and "bands" (text, x or y), "boxes" (chapter, x, y) and
    "lines" (SVG paths from a paper to those that build on it).
    """
    chapters = [chapter for part in parts for chapter in part.chapters]
    years = sorted({chapter.year for chapter in chapters})
    column, row, box = 108, 38, (99, 28)
    middle = box[1] // 2
    bands, places, y = [], {}, 34
    for part in parts:
        bands.append((part.title, y))
        taken = Counter[int]()
        for chapter in part.chapters:
            places[chapter.number] = (years.index(chapter.year) * column, y + 26 + row * taken[chapter.year])
            taken[chapter.year] += 1
        y += 26 + row * max(taken.values(), default=0) + 10
    lines = []
    for chapter in chapters:
        x2, y2 = places[chapter.number]
        for x1, y1 in (places[older] for older in chapter.builds_on):
            if x1 == x2:
                lines.append(f"M{x1 + 12} {y1 + box[1]}V{y2}")
            else:
                right, y_from, y_to = x1 + box[0], y1 + middle, y2 + middle
                half = (right + x2) / 2
                lines.append(f"M{right} {y_from}C{half} {y_from} {half} {y_to} {x2} {y_to}")
    return {
        "width": column * len(years) - 9,
        "height": y,
        "box": box,
        "years": [(year, i * column) for i, year in enumerate(years)],
        "bands": bands,
        "boxes": [(chapter, *places[chapter.number]) for chapter in chapters],
        "lines": lines,
    }
