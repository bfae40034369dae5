"""Figures: what they show, in which style, and that the same data give the same picture."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from tlib import plots
from tlib.claims import Claim


@pytest.fixture(autouse=True)
def styled():
    with plt.rc_context():
        plots.style()
        yield
    plt.close("all")


def a_claim(id: str, gain: float, metric: str = "accuracy", **changes) -> Claim:
    luck = np.random.default_rng(0).random((2, 5, 300))
    facts = {"statement": "It helps.", "paper": "Table 1", "reported": "10 times fewer labels", "metric": metric}
    claim = Claim(id, **facts | changes)
    claim.test(luck[0] < 0.5 + gain, luck[1] < 0.5)
    claim.control("shuffled labels", luck[0] < 0.5, luck[1] < 0.5)
    return claim


def contrast_with_white(colour: str) -> float:
    """WCAG 2 contrast ratio."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 1.05 / (0.05 + float(np.dot(linear, (0.2126, 0.7152, 0.0722))))


def test_figures_are_opaque_white_cards_on_which_all_colours_stand_out():
    plots.style()
    figure = plots.learning_curves({"scratch": [3.0, 2.0]}, ylabel="loss (nats)")
    assert figure.get_facecolor() == (1, 1, 1, 1)
    lines = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert all(contrast_with_white(colour) >= 3 for colour in [*lines, *(colour for _, colour in plots.MARKS.values())])
    text = [plt.rcParams[name] for name in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")]
    assert all(contrast_with_white(to_hex(colour)) >= 4.5 for colour in text)


def test_verdicts_differ_in_shape_and_in_colour():
    assert len({mark for mark, _ in plots.MARKS.values()}) == len({colour for _, colour in plots.MARKS.values()}) == 3


def test_learning_curves_have_named_axes_and_lines():
    figure = plots.learning_curves({"scratch": [3.0, 2.0], "pretrained": ([0, 5], [2.5, 1.0])}, ylabel="loss (nats)")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("updates", "loss (nats)")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["scratch", "pretrained"]
    assert list(axes.lines[0].get_xdata()) == [1, 2]
    with pytest.raises(ValueError, match="'empty' has 0 x and 0 y"):
        plots.learning_curves({"empty": []}, ylabel="loss")
    with pytest.raises(ValueError, match="2 x and 1 y"):
        plots.learning_curves({"uneven": ([1, 2], [1.0])}, ylabel="loss")


def test_the_claim_plot_shows_effect_interval_margin_and_the_papers_number():
    claims = [
        a_claim("low-shot", 0.3),
        a_claim("no-gain", 0.0, margin=0.01),
        a_claim("same", 0.0, kind="equivalence", margin=0.1),
    ]
    (axes,) = plots.claim_plot(claims).axes
    assert axes.get_xlabel() == "effect (points), with its 95% interval"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["low-shot", "no-gain", "same"]
    assert [note.get_text() for note in axes.texts] == ["paper: 10 times fewer labels"] * 3
    drawn = [tuple(np.round(line.get_xdata(), 6)) for line in axes.lines]
    for claim in claims:
        found = claim.result.interval
        assert tuple(np.round([100 * found.lo, 100 * found.hi], 6)) in drawn
    assert (1.0, 1.0) in drawn and (10.0, 10.0) in drawn and (-10.0, -10.0) in drawn


def test_claims_in_other_units_get_an_axis_of_their_own():
    figure = plots.claim_plot([a_claim("low-shot", 0.3), a_claim("loss", 0.1, metric="nats per token")])
    assert [axes.get_xlabel().split("(")[1].split(")")[0] for axes in figure.axes] == ["points", "nats per token"]


def test_a_shipped_curve_stands_at_the_middle_of_its_updates():
    assert plots.shipped_curve({"curve": [9.0, 7.5], "curve_every": 200}) == ([100.0, 300.0], [9.0, 7.5])


def test_a_plot_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no claim was tested yet"):
        plots.claim_plot([Claim("a", "It helps.", "Table 1", "+3", "accuracy")])


def test_a_shown_figure_has_its_text_alternative_and_the_same_bytes_each_time(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda item: shown.append(item.data))
    for _ in range(2):
        plots.show(plots.claim_plot([a_claim("low-shot", 0.3)]), 'effects, "all" of them')
    assert re.match(r'<img alt="effects, &quot;all&quot; of them" width="\d+" src="data:image/png;base64,', shown[0])
    assert shown[0] == shown[1]
    assert plt.get_fignums() == []


def test_the_text_alternative_names_effect_and_verdict():
    assert re.search(r"low-shot: \+\d+\.\d points \[.*\], confirmed\.", plots.claim_alt([a_claim("low-shot", 0.3)]))
