"""Figures in one style.

Every figure is an opaque white card: it reads the same on a light page and on a dark one, where colours that are clear
on both backgrounds would be pale on each. Colours are those of Okabe & Ito (2008), told apart by colour-blind readers,
without the yellow and sky blue that white swallows; what a colour says is said by a shape or a label too.
"""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.lines import Line2D

from tlib.records import describe, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tlib.claims import Claim

BLUE, VERMILION, GREEN, PURPLE, BROWN, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A3B00", "#000000"
GREY = "#595959"
MARKS = {"confirmed": ("o", "#1d6b3a"), "inconclusive": ("D", "#7a5200"), "refuted": ("X", "#a3341f")}  # book.css's


def style() -> None:
    """Set matplotlib's defaults for this process; `tlib.start` calls it."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 144,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "axes.facecolor": "white",
            "axes.prop_cycle": cycler(color=[BLUE, VERMILION, GREEN, PURPLE, BROWN, BLACK]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.titlelocation": "left",
            "grid.color": "#E2E2E2",
            "legend.frameon": False,
            "font.size": 10,
        }
    )


def show(figure: Figure, alt: str) -> None:
    """Display the figure with a text alternative for readers who do not see it, and close it."""
    from IPython.display import HTML, display

    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=144, metadata={"Software": None})  # same figure, same bytes
    plt.close(figure)
    data = base64.b64encode(image.getvalue()).decode()
    width = round(96 * figure.get_figwidth())
    display(HTML(f'<img alt="{escape(alt)}" width="{width}" src="data:image/png;base64,{data}">'))


def learning_curves(
    curves: Mapping[str, Sequence[float] | tuple[Sequence[float], Sequence[float]]],
    *,
    ylabel: str,
    xlabel: str = "updates",
    title: str = "",
) -> Figure:
    """One line per curve: y values counted from 1, or a pair (x values, y values). Markers tell them apart too.

    Raises ValueError for a curve without points or with x and y of different lengths.
    """
    figure, axes = plt.subplots()
    for number, (name, points) in enumerate(curves.items()):
        x, y = points if isinstance(points, tuple) else (range(1, len(points) + 1), points)
        if len(y) == 0 or len(x) != len(y):
            plt.close(figure)
            raise ValueError(f"curve {name!r} has {len(x)} x and {len(y)} y values: give as many of each, at least one")
        mark = "osD^vX"[number % 6]
        axes.plot(x, y, marker=mark, markevery=max(1, len(y) // 8), markersize=4, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(curves) > 1:
        axes.legend()
    return figure


def shipped_curve(card: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The loss curve on a checkpoint's card as `learning_curves` takes it: (updates, losses)."""
    return [(k + 0.5) * card["curve_every"] for k in range(len(card["curve"]))], card["curve"]


def claim_plot(claims: Sequence[Claim]) -> Figure:
    """Each tested claim's effect with its interval, its control beneath, the margin, and the paper's number at right.

    Claims share an axis when their metrics share a unit. Raises ValueError if none of the claims was tested.
    """
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        if claim.result:
            groups.setdefault(unit(claim.metric)[1], []).append(claim)
    if not groups:
        raise ValueError("no claim was tested yet, so there is nothing to plot: call claim.test(treatment, baseline)")
    rows = [len(group) for group in groups.values()]
    size, heights = (9.0, 1.0 + 0.62 * sum(rows) + 0.7 * (len(rows) - 1)), {"height_ratios": rows}
    figure, panels = plt.subplots(len(rows), figsize=size, squeeze=False, gridspec_kw=heights)
    for axes, (name, group) in zip(panels[:, 0], groups.items(), strict=True):
        for row, claim in enumerate(group):
            _draw_claim(axes, row, claim)
        axes.set(xlabel=f"effect ({name}), with its 95% interval", ylim=(len(group) - 0.4, -0.6))
        axes.set_yticks(range(len(group)), [claim.id for claim in group])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="y", visible=False)
        axes.axvline(0, color="#BBBBBB", linewidth=1, zorder=0)
    _legend(figure)
    return figure


def claim_alt(claims: Sequence[Claim]) -> str:
    """The text alternative of `claim_plot`: every effect, interval and verdict in words."""
    parts = [
        f"{claim.id}: {describe(claim.metric, found.effect, (found.lo, found.hi))}, {claim.result.verdict}"
        for claim in claims
        if claim.result and (found := claim.result.interval)
    ]
    return "Effects of the claims with 95% intervals. " + "; ".join(parts) + "."


def _draw_claim(axes: Axes, row: int, claim: Claim) -> None:
    factor = unit(claim.metric)[0]
    margins = [claim.margin, -claim.margin] if claim.kind == "equivalence" else [claim.margin]
    for margin in margins:
        axes.plot([factor * margin] * 2, [row - 0.4, row + 0.4], color=BLACK, linestyle="--", linewidth=1.2)
    for result, y, scale in ((claim.result, row - 0.08, 1.0), (claim.control_result, row + 0.24, 0.6)):
        if not result:
            continue
        (effect, lo, hi), (mark, colour) = (factor * value for value in result.interval[:3]), MARKS[result.verdict]
        axes.plot([lo, hi], [y, y], color=colour, linewidth=3 * scale, solid_capstyle="butt")
        face = colour if scale == 1 else "white"
        axes.plot(effect, y, mark, color=colour, markersize=9 * scale, markerfacecolor=face, markeredgecolor=colour)
    text = textwrap.fill(f"paper: {claim.reported}", 30, max_lines=3, placeholder=" …")
    axes.annotate(text, (1.02, row), xycoords=axes.get_yaxis_transform(), va="center", fontsize=9)


def _legend(figure: Figure) -> None:
    handles = [Line2D([], [], color=colour, marker=mark, label=name) for name, (mark, colour) in MARKS.items()]
    handles.append(Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linewidth=1.5, label="control"))
    handles.append(Line2D([], [], color=BLACK, linestyle="--", linewidth=1.2, label="margin"))
    figure.legend(handles=handles, loc="outside upper left", ncols=5, fontsize=9)
