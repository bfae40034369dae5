"""Claims: what a chapter declares before an experiment, and the one paired test that decides it.

Evidence is an array of scores per arm, [seed, test item] (`tlib.intervals` has the model), the margin is declared
beforehand, and every claim comes with a negative control: the same test where the effect must be absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tlib.intervals import (
    Interval,
    Statistic,
    as_pair,
    bootstrap_interval,
    check_margin,
    is_fragile,
    paired_interval,
    power,
    power_table,
    simulate,
    verdict,
)
from tlib.records import DECLARED, SIGNS, VERDICTS, compare, describe, read_record, write_record

__all__ = ["Claim", "Interval", "Result", "bootstrap_interval", "compare", "is_fragile", "paired_interval", "power"]
__all__ += ["power_table", "read_record", "simulate", "verdict", "verdict_table", "write_record"]


@dataclass(frozen=True)
class Result:
    """The outcome of one paired test; `per_seed` are the arms' metrics, seed by seed."""

    metric: str
    interval: Interval
    verdict: str
    fragile: bool
    seeds: int
    items: int | None
    per_seed: dict[str, list[float]] = field(repr=False)

    def _repr_markdown_(self) -> str:
        effect, lo, hi, _ = self.interval
        fragile = " (fragile: an end of the interval is close to the margin)" if self.fragile else ""
        return f"{describe(self.metric, effect, (lo, hi))}: **{self.verdict}**{fragile}"


@dataclass
class Claim:
    """A statement of the paper, declared before the experiment and tested exactly once.

    Args:
        id: short name in lower case, "low-shot"; it is the claim's anchor on the results page.
        statement: the claim as a sentence. paper: where it stands, "Figure 3". reported: the paper's number, as text.
        metric: "accuracy", "macro F1", "nats per token" ... More must be better: negate a loss before testing it.
        margin: what the effect has to exceed ("difference") or to stay within on both sides ("equivalence").
        expected: the verdict expected at this profile, if one is.
        statistic: for metrics that are no mean of items, the metric of one seed (see `bootstrap_interval`).
    """

    id: str
    statement: str
    paper: str
    reported: str
    metric: str
    margin: float = 0.0
    kind: str = "difference"
    expected: str | None = None
    statistic: Statistic | None = field(default=None, repr=False)
    result: Result | None = field(default=None, init=False)
    control_name: str | None = field(default=None, init=False)
    control_result: Result | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.id):
            raise ValueError(f"claim id {self.id!r}: use lower-case words joined by hyphens, such as 'low-shot'")
        for name in ("statement", "paper", "reported", "metric"):
            if not getattr(self, name).strip():
                raise ValueError(f"claim {self.id!r} has an empty {name}: say it, so that a reader can judge the test")
        if self.expected not in (None, *VERDICTS):
            raise ValueError(f"claim {self.id!r} expects {self.expected!r}: use one of {', '.join(VERDICTS)}")
        check_margin(self.margin, self.kind)

    def test(self, treatment: ArrayLike, baseline: ArrayLike) -> Result:
        """Decide the claim by paired scores [seed, item] (or [seed]); a second call raises RuntimeError."""
        if self.result:
            raise RuntimeError(
                f"claim {self.id!r} has been tested already ({self.result.verdict}). A claim is tested once, or chance "
                "gets a second try. To repeat the experiment, restart the kernel and run the chapter from its top."
            )
        self.result = self._test(treatment, baseline)
        return self.result

    def control(self, name: str, treatment: ArrayLike, baseline: ArrayLike) -> Result:
        """The same test where the claimed effect must be absent (`name`: "shuffled labels", "random encoder" ...).

        The chapter fails if it comes out confirmed. A second call raises RuntimeError.
        """
        if self.control_result:
            raise RuntimeError(f"claim {self.id!r} has its control already: {self.control_name}. It is run once.")
        self.control_result, self.control_name = self._test(treatment, baseline), name
        return self.control_result

    def to_record(self) -> dict[str, Any]:
        """The claim's part of the chapter's record; RuntimeError if it was not tested yet."""
        if not self.result:
            raise RuntimeError(f"claim {self.id!r} was declared but not tested: call its test(treatment, baseline)")
        record = {name: getattr(self, name) for name in ("id", *DECLARED)}
        record |= {"seeds": self.result.seeds, "items": self.result.items}
        for arm, seeds in self.result.per_seed.items():
            record[arm] = {"mean": float(np.mean(seeds)), "per_seed": seeds}
        record |= _outcome(self.result) | {"fragile": self.result.fragile, "control": None}
        if self.control_result:
            record["control"] = {"name": self.control_name} | _outcome(self.control_result)
        return record

    def _repr_markdown_(self) -> str:
        goal = "within ±" if self.kind == "equivalence" else "above "
        goal += describe(self.metric, self.margin, sign=False)
        lines = [f"**Claim `{self.id}`.** {self.statement}", f"*The paper ({self.paper}):* {self.reported}"]
        lines.append(f"*Test:* effect on {self.metric} {goal}" + (f"; expected: {self.expected}" * bool(self.expected)))
        if self.result:
            lines.append(f"*Found:* {self.result._repr_markdown_()}")
        return "  \n".join(lines)

    def _test(self, treatment: ArrayLike, baseline: ArrayLike) -> Result:
        first, second = as_pair(treatment, baseline, self.statistic)
        if self.statistic:
            interval = bootstrap_interval(first, second, self.statistic)
        else:
            interval = paired_interval(first, second)
        score = self.statistic or np.mean
        arms = {"treatment": first, "baseline": second}
        return Result(
            self.metric,
            interval,
            verdict(interval, self.margin, self.kind),
            is_fragile(interval, self.margin, self.kind),
            seeds=len(first),
            items=first.shape[1] if first.ndim > 1 else None,
            per_seed={arm: [float(score(seed)) for seed in scores] for arm, scores in arms.items()},
        )


def verdict_table(claims: Iterable[Claim]) -> str:
    """HTML table of tested claims. It sets no colour; the site's style gives the verdict badges theirs."""
    heads = ("Claim, and its control", "Effect with 95% interval", "In the paper", "Verdict")
    rows = []
    for claim in claims:
        found, control = claim.result, claim.control_result
        controlled = f"Control, {claim.control_name}: {control.verdict}" if control else "No control"
        fragile = ' <span class="verdict verdict-fragile">fragile</span>' if found.fragile else ""
        cells = [
            escape(describe(claim.metric, found.interval.effect, (found.interval.lo, found.interval.hi))),
            escape(f"{claim.reported} ({claim.paper})"),
            _badge(found.verdict) + fragile + _note(f"expected: {claim.expected or 'nothing'}"),
        ]
        statement = f'<th scope="row">{escape(claim.statement)}{_note(escape(controlled))}</th>'
        rows.append(statement + "".join(f"<td>{cell}</td>" for cell in cells))
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table class="verdict-table"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'


def _note(text: str) -> str:
    return f'<div class="verdict-note">{text}</div>'


def _badge(verdict: str) -> str:
    return f'<span class="verdict verdict-{verdict}"><span aria-hidden="true">{SIGNS[verdict]}</span> {verdict}</span>'


def _outcome(result: Result) -> dict[str, Any]:
    effect, lo, hi, _ = result.interval
    return {"effect": effect, "interval": [lo, hi], "verdict": result.verdict}
