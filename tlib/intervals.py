"""Paired intervals, verdicts and power: the statistics beneath `tlib.claims`.

Evidence is an array of scores per arm, [seed, test item], the same seeds and items in the same order in both arms.
A claim is about other seeds and other test items than those at hand, so both count as random:

    treatment[s, i] - baseline[s, i] = effect + seed[s] + item[i] + error[s, i]

Effects, margins and intervals are in the metric's own unit: an accuracy difference of 0.01 is one point. How often the
verdicts err, and what they can detect, is tabulated on the author page "Statistics".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

KINDS = ("difference", "equivalence")
Statistic = Callable[[NDArray[np.float64]], float]


class Interval(NamedTuple):
    """An effect (treatment minus baseline) with its confidence interval and the degrees of freedom it rests on."""

    effect: float
    lo: float
    hi: float
    df: float


def paired_interval(treatment: ArrayLike, baseline: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of the mean paired difference, seeds and test items both random.

    Args:
        treatment, baseline: scores [seed, item], or [seed] for a metric with no items (then only seeds are random).
        level: two-sided confidence level.

    Crossed variance components by moments with Satterthwaite's degrees of freedom (Searle, Casella & McCulloch,
    *Variance Components*, 1992, chapters 2 and 4), held conservative by two rules: a component estimated below zero
    counts as zero, and the degrees of freedom are at most twice those of the seeds. Without the second, three seeds
    confirm up to 3.9% of true zeros one-sidedly instead of 2.5%: Satterthwaite trusts a seed variance that came out
    small by chance.

    Raises ValueError if the arms do not pair, hold fewer than 2 seeds or items, or a value that is not finite.
    """
    first, second = as_pair(treatment, baseline)
    differences = first - second
    seeds = len(differences)
    if differences.ndim == 1:
        effect, se, df = differences.mean(), differences.std(ddof=1) / math.sqrt(seeds), float(seeds - 1)
    else:
        effect, *variances = moments(differences)
        se, df = joined(*variances, *differences.shape)
    half = se * stdtrit(df, (1 + level) / 2)
    return Interval(float(effect), float(effect - half), float(effect + half), float(df))


def bootstrap_interval(
    treatment: ArrayLike,
    baseline: ArrayLike,
    statistic: Statistic,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of the mean paired difference of a metric that is no mean of items: macro F1, perplexity, BLEU ...

    Args:
        treatment, baseline: what the metric is computed from, [seed, item, ...]: for macro F1 predicted and true label
            of each item, for perplexity its loss and number of tokens.
        statistic: the metric of one seed, from an array [item, ...].
        resamples: how often the test items are drawn anew; each costs 2 x seeds calls of `statistic`.

    Two levels. Items are resampled, the same draw for every seed and both arms, which gives the items' and the error's
    variance; the seeds' comes from the differences themselves, since resampling three seeds underestimates it by a
    third. The components are then joined as in `paired_interval`, with which this agrees when the metric is a mean.

    Raises ValueError as `paired_interval` does, and if the statistic is not finite on some resample.
    """
    first, second = as_pair(treatment, baseline, statistic)
    seeds, items = first.shape[:2]
    rng = np.random.default_rng(seed)
    draws = [np.arange(items), *(rng.integers(items, size=items) for _ in range(resamples))]
    values = np.array(
        [[statistic(a[draw]) - statistic(b[draw]) for a, b in zip(first, second, strict=True)] for draw in draws]
    )
    if not np.isfinite(values).all():
        raise ValueError("the statistic is not finite on some resample of the test items: give empty classes a value")
    differences, resampled = values[0], values[1:] - values[1:].mean(axis=0)
    common = resampled.mean(axis=1)
    error = ((resampled - common[:, None]) ** 2).sum() / ((resamples - 1) * (seeds - 1) * seeds)
    se, df = joined(differences.var(ddof=1) / seeds, common.var(ddof=1), error, seeds, items)
    effect, half = differences.mean(), se * stdtrit(df, (1 + level) / 2)
    return Interval(float(effect), float(effect - half), float(effect + half), float(df))


def verdict(interval: Interval, margin: float, kind: str = "difference") -> str:
    """ "confirmed", "refuted" or "inconclusive".

    A difference is confirmed when its interval lies above the margin, refuted when below. An equivalence is confirmed
    when the interval lies within ±margin (two one-sided tests, at 2.5% each for a 95% interval), refuted when it lies
    wholly outside. Everything else is inconclusive.
    """
    check_margin(margin, kind)
    if kind == "difference":
        confirmed, refuted = interval.lo > margin, interval.hi < margin
    else:
        confirmed = -margin < interval.lo and interval.hi < margin
        refuted = interval.lo > margin or interval.hi < -margin
    return "confirmed" if confirmed else "refuted" if refuted else "inconclusive"


def is_fragile(interval: Interval, margin: float, kind: str = "difference") -> bool:
    """Whether an end of the interval is within a tenth of its width of the margin: another machine may decide anew."""
    check_margin(margin, kind)
    margins = (margin,) if kind == "difference" else (-margin, margin)
    reach = 0.1 * (interval.hi - interval.lo)
    return any(abs(end - edge) <= reach for end in (interval.lo, interval.hi) for edge in margins)


def simulate(
    effect: float, seeds: int, items: int, experiments: int, spread: float = 0.01, accuracy: float = 0.8, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95% intervals (lo, hi), each [experiment], of simulated experiments on binary test items.

    Both arms meet the same items. An item is right when accuracy's normal quantile + item difficulty (60% of the
    variance, common to arms and seeds) + the arm's own luck with the item (20%, common to seeds) + the seed's shift +
    noise exceeds zero, so the baseline's expected accuracy is `accuracy`, the treatment's `accuracy + effect`, exactly.
    spread: standard deviation of an arm's accuracy between seeds (0.01: one point).
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, 1_000_000 // (seeds * items))
    bounds = []
    for start in range(0, experiments, chunk):
        number = min(chunk, experiments - start)
        difficulty = math.sqrt(0.6) * rng.standard_normal((number, 1, items), dtype=np.float32)
        right = []
        for level in (accuracy + effect, accuracy):
            quantile = ndtri(level)
            shift_sd = spread * math.sqrt(2 * math.pi) * math.exp(quantile**2 / 2)
            if not shift_sd**2 < 0.2:
                raise ValueError(
                    f"accuracies of {level:.0%} with a spread of {spread:.1%} between seeds: not simulated"
                )
            shift = quantile + shift_sd * rng.standard_normal((number, seeds, 1))
            latent = math.sqrt(0.2 - shift_sd**2) * rng.standard_normal((number, seeds, items), dtype=np.float32)
            latent += math.sqrt(0.2) * rng.standard_normal((number, 1, items), dtype=np.float32)
            right.append(latent + difficulty + shift.astype(np.float32) > 0)
        found, *variances = moments(np.subtract(*right, dtype=np.float32))
        se, df = joined(*variances, seeds, items)
        half = se * stdtrit(df, 0.975)
        bounds.append((found - half, found + half))
    lo, hi = np.concatenate(bounds, axis=1)
    return lo, hi


def power(effect: float, seeds: int, items: int, experiments: int = 2000, **world: float) -> float:
    """Share of simulated experiments that confirm a true `effect` against margin 0; `world` as in `simulate`."""
    return float(np.mean(simulate(effect, seeds, items, experiments, **world)[0] > 0))


def power_table(experiments: int = 2000) -> str:
    """Markdown table of `power`, in percent, by effect (columns, in points), seeds and test items (rows)."""
    effects = (0.01, 0.02, 0.03, 0.05, 0.10)
    heads = "".join(f" {100 * effect:.0f} point{'s' * (effect > 0.01)} |" for effect in effects)
    lines = [f"| seeds | test items |{heads}"]
    lines.append("|---:|---:|" + "---:|" * len(effects))
    for seeds in (3, 5, 8):
        for items in (300, 1000, 2000):
            cells = "".join(f" {100 * power(effect, seeds, items, experiments):.0f}% |" for effect in effects)
            lines.append(f"| {seeds} | {items:,} |{cells}")
    return "\n".join(lines)


def as_pair(
    treatment: ArrayLike, baseline: ArrayLike, statistic: Statistic | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both arms as float arrays that pair, or ValueError with what is wrong and the remedy."""
    try:
        first, second = np.asarray(treatment, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"scores have to be numbers in arrays [seed, item] on the CPU: {error}") from None
    if first.shape != second.shape:
        raise ValueError(
            f"the arms do not pair: treatment has shape {first.shape}, baseline {second.shape}. Both need the same "
            "seeds and the same test items in the same order; repeat an arm without seeds with numpy.broadcast_to."
        )
    if first.ndim < 2 if statistic else first.ndim not in (1, 2):
        wanted = "[seed, item, ...]" if statistic else "[seed, item] or [seed]"
        raise ValueError(f"scores have shape {first.shape}: expected {wanted}")
    if len(first) < 2:
        raise ValueError(f"scores of {len(first)} seed: at least 2 are needed to see how much seeds differ, better 5")
    if first.ndim > 1 and first.shape[1] < 2:
        raise ValueError(f"scores of {first.shape[1]} test item: at least 2 are needed, better hundreds")
    for arm, scores in (("treatment", first), ("baseline", second)):
        if bad := int((~np.isfinite(scores)).sum()):
            raise ValueError(
                f"{arm} has {bad} of {scores.size} scores that are not finite: find out why before testing"
            )
    return first, second


def check_margin(margin: float, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: use one of {', '.join(KINDS)}")
    if not math.isfinite(margin) or (kind == "equivalence" and margin <= 0):
        raise ValueError(f"margin {margin!r}: expected a finite number, above 0 for an equivalence")


def moments(differences: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Mean of differences [..., seed, item], and the mean squares of seeds, items and error over seeds x items.

    Divided so, each estimates its share in the variance of the mean: seed + error, item + error, error alone.
    """
    seeds, items = differences.shape[-2:]
    by_seed, by_item = differences.mean(axis=-1), differences.mean(axis=-2)
    effect = by_seed.mean(axis=-1)
    residual = differences - by_seed[..., :, None] - by_item[..., None, :] + effect[..., None, None]
    error = (residual**2).sum(axis=(-2, -1)) / ((seeds - 1) * (items - 1) * seeds * items)
    return effect, by_seed.var(axis=-1, ddof=1) / seeds, by_item.var(axis=-1, ddof=1) / items, error


def joined(seed: Any, item: Any, error: Any, seeds: int, items: int) -> tuple[Any, Any]:
    """Standard error of the mean and its degrees of freedom, from what `moments` gives; see `paired_interval`."""
    variance = error + np.maximum(seed - error, 0) + np.maximum(item - error, 0)
    spread = seed**2 / (seeds - 1) + item**2 / (items - 1) + error**2 / ((seeds - 1) * (items - 1))
    most = 2.0 * (seeds - 1)
    df = np.minimum(np.divide(variance**2, spread, out=np.full_like(spread, most), where=spread > 0), most)
    return np.sqrt(variance), df
