"""Intervals, verdicts, claims and records: properties, simulated error rates, and refusals."""

import json
import os
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tlib import claims, intervals, records
from tlib.claims import Claim, Interval, bootstrap_interval, is_fragile, paired_interval, verdict

STATISTICS_PAGE = Path(__file__).parent.parent / "book" / "authors" / "statistics.md"
WORLDS = list(product((3, 5, 8), (0.0, 0.003, 0.005, 0.01, 0.02)))  # seeds, spread between seeds
scores = st.tuples(st.integers(2, 5), st.integers(2, 12)).flatmap(
    lambda shape: st.tuples(*[arrays(np.float64, shape, elements=st.integers(-4, 4).map(float))] * 2)
)


def random_scores(seeds: int = 5, items: int = 400, gain: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    luck = np.random.default_rng(1).random((2, seeds, items))
    return (luck[0] < 0.7 + gain).astype(float), (luck[1] < 0.7).astype(float)


def a_claim(**changes) -> Claim:
    facts = {"id": "low-shot", "statement": "It helps.", "paper": "Table 1", "reported": "+3", "metric": "accuracy"}
    return Claim(**facts | changes)


def macro_f1(predicted_and_true: np.ndarray) -> float:
    predicted, true = predicted_and_true.T
    hits = [
        2 * np.sum((predicted == k) & (true == k)) / max(1, np.sum(predicted == k) + np.sum(true == k)) for k in (0, 1)
    ]
    return float(np.mean(hits))


# Properties of the interval


@given(scores)
def test_swapping_the_arms_negates_the_interval(pair):
    one, other = paired_interval(*pair), paired_interval(*reversed(pair))
    assert np.allclose([one.effect, one.lo, one.hi, one.df], [-other.effect, -other.hi, -other.lo, other.df])


@given(scores, st.floats(-3, 3))
def test_a_gain_on_every_score_moves_the_interval_by_it(pair, gain):
    before, after = paired_interval(*pair), paired_interval(pair[0] + gain, pair[1])
    assert np.allclose(after[:3], np.array(before[:3]) + gain, atol=1e-6)


@given(scores, st.data())
def test_what_both_arms_share_cancels(pair, data):
    shared = data.draw(arrays(np.float64, pair[0].shape, elements=st.integers(-9, 9).map(float)))
    assert np.allclose(paired_interval(*pair), paired_interval(pair[0] + shared, pair[1] + shared))


@given(scores, st.floats(0.1, 100))
def test_the_interval_is_in_the_unit_of_the_scores(pair, factor):
    plain, scaled = paired_interval(*pair), paired_interval(factor * pair[0], factor * pair[1])
    assert np.allclose(np.array(plain[:3]) * factor, scaled[:3], atol=1e-6)


@given(scores, st.data())
def test_the_order_of_seeds_and_items_does_not_matter(pair, data):
    seeds, items = (data.draw(st.permutations(range(size))) for size in pair[0].shape)
    shuffled = [arm[seeds][:, items] for arm in pair]
    assert np.allclose(paired_interval(*pair), paired_interval(*shuffled))


@given(scores)
def test_the_interval_is_at_least_as_wide_as_for_items_alone_or_seeds_alone(pair):
    difference, found = pair[0] - pair[1], paired_interval(*pair)
    assert found.lo <= found.effect <= found.hi
    assert 0 < found.df <= 2 * (len(difference) - 1)
    least = max(
        np.var(difference.mean(0), ddof=1) / difference.shape[1], np.var(difference.mean(1), ddof=1) / len(difference)
    )
    assert found.hi - found.effect >= 1.95 * np.sqrt(least) - 1e-9


@given(scores, st.floats(0.01, 3))
def test_a_higher_level_gives_a_wider_interval_with_the_same_middle(pair, margin):
    narrow, wide = (paired_interval(*pair, level=level) for level in (0.9, 0.99))
    assert wide.lo <= narrow.lo <= narrow.hi <= wide.hi
    for kind in ("difference", "equivalence"):
        if verdict(wide, margin, kind) != "inconclusive":
            assert verdict(narrow, margin, kind) == verdict(wide, margin, kind)


def test_scores_by_seed_alone_give_the_paired_t_interval():
    first, second = np.array([0.81, 0.84, 0.80, 0.86]), np.array([0.79, 0.80, 0.80, 0.81])
    wanted = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert np.allclose(paired_interval(first, second)[1:], (wanted.low, wanted.high, 3))


def test_identical_arms_give_a_point_at_zero_that_decides_nothing():
    same = np.ones((3, 50))
    assert paired_interval(same, same)[:3] == (0, 0, 0)
    assert verdict(paired_interval(same, same), 0.0) == "inconclusive"


def test_seeds_that_do_not_matter_leave_the_interval_of_the_items():
    first, second = (np.repeat(arm[:1], 5, axis=0) for arm in random_scores())
    found, difference = paired_interval(first, second), (first - second)[0]
    assert np.isclose(found.hi - found.lo, 2 * difference.std(ddof=1) / np.sqrt(400) * stats.t.ppf(0.975, found.df))


def test_booleans_and_tensors_are_scores():
    torch = pytest.importorskip("torch")
    first, second = random_scores()
    assert paired_interval(first > 0, torch.tensor(second)) == paired_interval(first, second)


# Error rates: what an author relies on


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread"), WORLDS)
def test_a_true_zero_is_seldom_confirmed_or_refuted(seeds, spread):
    lo, hi = claims.simulate(0.0, seeds, 1000, experiments=2000, spread=spread)
    assert np.mean(lo > 0) <= 0.035
    assert np.mean(hi < 0) <= 0.035


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread"), WORLDS)
def test_an_effect_at_the_margin_is_seldom_called_equivalent(seeds, spread):
    # A margin wide enough for the interval to fit inside: with a narrow one, nothing is ever confirmed.
    lo, hi = claims.simulate(0.1, seeds, 1000, experiments=2000, spread=spread, accuracy=0.75)
    verdicts = [verdict(Interval(np.nan, *ends, np.nan), 0.1, "equivalence") for ends in zip(lo, hi, strict=True)]
    assert verdicts.count("confirmed") <= 0.035 * 2000


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_the_error_rate_holds_for_any_ratio_of_seed_to_item_variance(seeds):
    """Normal scores, drawn as the mean squares that are all the interval uses; the worst case is about 3.4%."""
    rng, items, draws = np.random.default_rng(0), 1000, 30_000
    for error, seed in product((0.05, 0.3, 0.7, 1.0), (0.0, 0.3, 1.0, 3.0, 8.0, 20.0)):
        wanted = np.array([error + seed, 1.0, error])  # in units of item variance + error
        freedom = np.array([seeds - 1, items - 1, (seeds - 1) * (items - 1)])
        squares = (wanted * rng.chisquare(freedom, (draws, 3)) / freedom).T
        se, df = intervals.joined(*squares, seeds, items)
        effect = rng.standard_normal(draws) * np.sqrt(wanted[0] + wanted[1] - error)
        assert np.mean(np.abs(effect) > se * stats.t.ppf(0.975, df)) / 2 <= 0.035


@pytest.mark.slow
def test_the_bootstrap_keeps_the_error_rate_for_macro_f1():
    rng, confirmed = np.random.default_rng(0), 0
    for _ in range(200):
        true = rng.integers(2, size=300)
        difficulty = rng.standard_normal(300)
        right = difficulty + 0.5 * rng.standard_normal((2, 3, 300)) + 0.2 * rng.standard_normal((2, 3, 1)) > -0.8
        arms = np.stack([np.where(right, true, 1 - true), np.broadcast_to(true, right.shape)], axis=-1)
        confirmed += bootstrap_interval(*arms, macro_f1, resamples=60).lo > 0
    assert confirmed <= 0.035 * 200


def test_the_bootstrap_agrees_with_the_crossed_interval_on_means():
    pair = random_scores()
    crossed, bootstrapped = paired_interval(*pair), bootstrap_interval(*pair, np.mean, resamples=2000)
    assert np.isclose(crossed.effect, bootstrapped.effect)
    assert np.isclose(crossed.hi - crossed.lo, bootstrapped.hi - bootstrapped.lo, rtol=0.06)
    assert bootstrapped == bootstrap_interval(*pair, np.mean, resamples=2000)


def test_simulated_accuracies_are_those_asked_for():
    lo, hi = claims.simulate(0.05, 3, 200, experiments=4000, spread=0.02, accuracy=0.8)
    assert abs(np.mean((lo + hi) / 2) - 0.05) < 0.002
    with pytest.raises(ValueError, match="not simulated"):
        claims.simulate(0.05, 3, 200, experiments=1, spread=0.2)


def test_power_grows_with_effect_seeds_and_items():
    least = claims.power(0.03, 3, 300, experiments=500)
    assert least < min(
        claims.power(0.05, 3, 300, 500), claims.power(0.03, 5, 300, 500), claims.power(0.03, 3, 1000, 500)
    )


def test_the_page_for_authors_has_the_table_of_power():
    page = STATISTICS_PAGE.read_text(encoding="utf-8")
    for seeds, items, column in ((3, 300, 1), (5, 300, 3), (3, 1000, 0)):
        row = re.search(rf"^\| {seeds} \| {items:,} \|(.*)\|$", page, re.MULTILINE)[1].split("|")
        assert row[column].strip() == f"{100 * claims.power((0.01, 0.02, 0.03, 0.05, 0.1)[column], seeds, items):.0f}%"
    assert claims.power_table(experiments=2).count("\n") == 10


# Verdicts


@pytest.mark.parametrize(
    ("lo", "hi", "margin", "kind", "wanted", "fragile"),
    [
        (0.02, 0.06, 0.0, "difference", "confirmed", False),
        (0.001, 0.06, 0.0, "difference", "confirmed", True),
        (0.0, 0.06, 0.0, "difference", "inconclusive", True),
        (-0.02, 0.06, 0.0, "difference", "inconclusive", False),
        (-0.02, 0.001, 0.0, "difference", "inconclusive", True),
        (-0.06, -0.02, 0.0, "difference", "refuted", False),
        (0.02, 0.06, 0.01, "difference", "confirmed", False),
        (-0.005, 0.02, -0.01, "difference", "confirmed", False),
        (-0.01, 0.01, 0.02, "equivalence", "confirmed", False),
        (-0.019, 0.01, 0.02, "equivalence", "confirmed", True),
        (-0.03, 0.01, 0.02, "equivalence", "inconclusive", False),
        (-0.03, 0.03, 0.02, "equivalence", "inconclusive", False),
        (0.03, 0.05, 0.02, "equivalence", "refuted", False),
        (-0.05, -0.03, 0.02, "equivalence", "refuted", False),
    ],
)
def test_verdicts_against_the_margin(lo, hi, margin, kind, wanted, fragile):
    interval = Interval((lo + hi) / 2, lo, hi, 4)
    assert (verdict(interval, margin, kind), is_fragile(interval, margin, kind)) == (wanted, fragile)


# Refusals


@pytest.mark.parametrize(
    ("treatment", "baseline", "message"),
    [
        (np.ones((3, 10)), np.ones((3, 9)), "do not pair"),
        (np.ones((3, 10)), np.ones((1, 10)), "broadcast_to"),
        (np.ones((1, 10)), np.ones((1, 10)), "at least 2"),
        (np.ones(1), np.ones(1), "at least 2"),
        (np.ones((3, 1)), np.ones((3, 1)), "test item"),
        (np.ones((3, 0)), np.ones((3, 0)), "test item"),
        (np.ones((3, 4, 2)), np.ones((3, 4, 2)), "expected \\[seed, item\\] or \\[seed\\]"),
        (np.float64(1), np.float64(1), "expected"),
        ([[1.0, np.nan], [1, 1]], np.ones((2, 2)), "treatment has 1 of 4 scores that are not finite"),
        (np.ones((2, 2)), [[1.0, np.inf], [1, 1]], "baseline has 1"),
        ([[1.0], [1, 2]], np.ones((2, 2)), "numbers in arrays"),
        ([["a", "b"]] * 2, np.ones((2, 2)), "numbers in arrays"),
    ],
)
def test_evidence_that_cannot_be_tested_is_refused(treatment, baseline, message):
    with pytest.raises(ValueError, match=message):
        paired_interval(treatment, baseline)
    claim = a_claim()
    with pytest.raises(ValueError, match=message):
        claim.test(treatment, baseline)
    assert claim.result is None  # a refusal is no test: the mended arrays can be tested


def test_a_bootstrap_is_refused_without_items_or_with_a_statistic_that_fails():
    with pytest.raises(ValueError, match="item, ..."):
        bootstrap_interval(np.ones(3), np.ones(3), np.mean)
    with pytest.raises(ValueError, match="not finite on some resample"):
        bootstrap_interval(np.ones((3, 5)), np.ones((3, 5)), lambda scores: float("nan"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "Low shot"}, "lower-case"),
        ({"statement": " "}, "empty statement"),
        ({"reported": ""}, "empty reported"),
        ({"kind": "trend"}, "use one of difference"),
        ({"margin": float("nan")}, "finite"),
        ({"kind": "equivalence", "margin": 0.0}, "above 0"),
        ({"expected": "yes"}, "use one of confirmed"),
    ],
)
def test_a_claim_that_says_too_little_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        a_claim(**changes)


# Claims


def test_a_claim_is_tested_once_and_controlled_once():
    claim, pair = a_claim(expected="confirmed"), random_scores(gain=0.2)
    assert claim.test(*pair).verdict == "confirmed"
    assert claim.control("the baseline against itself", pair[1], pair[1]).verdict == "inconclusive"
    with pytest.raises(RuntimeError, match="tested already"):
        claim.test(*pair)
    with pytest.raises(RuntimeError, match="has its control"):
        claim.control("another", *pair)


def test_the_record_of_a_claim_has_its_declaration_evidence_and_outcome():
    claim, pair = a_claim(expected="confirmed", margin=0.01), random_scores(gain=0.2)
    with pytest.raises(RuntimeError, match="not tested"):
        claim.to_record()
    claim.test(*pair)
    assert claim.to_record()["control"] is None
    claim.control("itself", pair[1], pair[1])
    record = claim.to_record()
    assert list(record) == [
        *("id", "statement", "paper", "reported", "metric", "kind", "margin", "expected", "seeds", "items"),
        *("treatment", "baseline", "effect", "interval", "verdict", "fragile", "control"),
    ]
    assert (record["seeds"], record["items"], record["verdict"]) == (5, 400, "confirmed")
    assert np.allclose(record["treatment"]["per_seed"], pair[0].mean(axis=1))
    assert np.isclose(record["treatment"]["mean"] - record["baseline"]["mean"], record["effect"])
    assert set(record["control"]) == {"name", "effect", "interval", "verdict"}


def test_a_claim_with_a_statistic_uses_the_bootstrap():
    true = np.random.default_rng(0).integers(2, size=(4, 200))
    wrong_often, wrong_seldom = (
        true ^ (np.random.default_rng(seed).random((4, 200)) < p) for seed, p in ((1, 0.4), (2, 0.1))
    )
    claim = a_claim(metric="macro F1", statistic=macro_f1)
    result = claim.test(np.stack([wrong_seldom, true], -1), np.stack([wrong_often, true], -1))
    assert result.verdict == "confirmed"
    assert np.isclose(result.per_seed["treatment"][0], macro_f1(np.stack([wrong_seldom, true], -1)[0]))


def test_a_claim_shows_itself_before_and_after_its_test():
    claim = a_claim(expected="confirmed", margin=0.01)
    assert "above 1.0 points; expected: confirmed" in claim._repr_markdown_()
    claim.test(*random_scores(gain=0.2))
    assert "**confirmed**" in claim._repr_markdown_()


# Records


def a_record(*changed: dict, **fields) -> dict:
    outcome = {"effect": 0.05, "interval": [0.02, 0.08], "verdict": "confirmed", "fragile": False, "control": None}
    base = {"statement": "It helps.", "paper": "Table 1", "reported": "+3", "metric": "accuracy", "kind": "difference"}
    found = [
        {"id": f"claim-{n}", **base, "margin": 0.0, **outcome, **change} for n, change in enumerate(changed or [{}])
    ]
    return {"chapter": "03_ulmfit", "profile": "laptop", "data": {"bbc": "ab"}, "claims": found, "wall_s": 1.0} | fields


def severities(new: dict, committed: dict) -> list[str]:
    return [difference.severity for difference in records.compare(new, committed)]


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "deep" / "03_ulmfit.json"
    record = a_record(notes={"gain": 1 / 3, "zero": -0.0, "seeds": [np.float32(0.1), np.int64(3)], "é": "ü"})
    records.write_record(path, record)
    text = path.read_text(encoding="utf-8")
    assert records.read_record(path)["notes"] == {"gain": 0.333333, "zero": 0.0, "seeds": [0.1, 3], "é": "ü"}
    assert "-0.0" not in text
    records.write_record(path, records.read_record(path))
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.ones(3), object()])
def test_a_record_that_json_cannot_hold_leaves_the_old_one(tmp_path, value):
    path = tmp_path / "r.json"
    records.write_record(path, a_record())
    before = path.read_bytes()
    with pytest.raises(records.RecordError, match="finite numbers"):
        records.write_record(path, a_record(notes={"x": value}))
    assert path.read_bytes() == before


def test_a_write_that_breaks_off_leaves_the_old_record_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    records.write_record(path, a_record())
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        records.write_record(path, a_record(wall_s=2.0))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"chapter": "x"}'])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "03.json").write_text(text)
    with pytest.raises(records.RecordError, match=r"03\.json.*--accept"):
        records.read_record(tmp_path / "03.json")


FRAGILE, OPEN, REFUTED = {"fragile": True}, {"verdict": "inconclusive"}, {"verdict": "refuted"}
# The committed effect is 0.05 ± 0.03: with ± 0.04 here, chance explains a distance of up to 0.05.
NEAR, FAR = ({"effect": effect, "interval": [effect - 0.04, effect + 0.04]} for effect in (0.01, -0.01))


@pytest.mark.parametrize(
    ("new", "committed", "wanted"),
    [
        (a_record(), a_record(), []),
        (a_record(wall_s=9, commit="x", versions={}, device="gpu", threads=2), a_record(), []),
        (a_record({"effect": 0.05000000001}), a_record(), []),
        (a_record({"effect": 0.06}), a_record(), ["info"]),
        (a_record(notes={"loss": 1.0}), a_record(), ["info"]),
        (a_record(data={"bbc": "cd"}), a_record(), ["warn"]),
        (a_record(OPEN), a_record(), ["fail"]),
        (a_record(OPEN), a_record(FRAGILE), ["warn"]),
        (a_record(), a_record(FRAGILE | OPEN), ["warn"]),
        (a_record(REFUTED), a_record(FRAGILE), ["fail"]),
        (a_record(OPEN | FRAGILE), a_record(), ["fail"]),
        (a_record(OPEN | NEAR, arithmetic="fp32 a"), a_record(arithmetic="bf16 b"), ["warn"]),
        (a_record(OPEN | NEAR, arithmetic="fp32 a"), a_record(), ["warn"]),
        (a_record(OPEN | NEAR, arithmetic="fp32 a"), a_record(arithmetic="fp32 a"), ["fail"]),
        (a_record(OPEN | FAR, arithmetic="fp32 a"), a_record(arithmetic="bf16 b"), ["fail"]),
        (a_record(REFUTED | NEAR, arithmetic="fp32 a"), a_record(arithmetic="bf16 b"), ["fail"]),
        (a_record({"effect": 0.06}, arithmetic="fp32 a"), a_record(arithmetic="bf16 b"), ["info"]),
        (a_record({"margin": -0.01}), a_record(), ["fail"]),
        (a_record({"statement": "It helps a lot."}), a_record(), ["fail"]),
        (a_record({}, {}), a_record(), ["fail"]),
        (a_record(), a_record({}, {}), ["fail"]),
        (a_record(profile="colab"), a_record(), ["fail"]),
    ],
)
def test_a_record_is_held_to_the_committed_one(new, committed, wanted):
    assert severities(new, committed) == wanted
    json.dumps([difference._asdict() for difference in records.compare(new, committed)])


def test_arithmetic_is_told_by_precision_and_last_bits():
    cpu = torch.device("cpu")
    state = torch.get_rng_state()
    first = records.arithmetic(cpu)
    assert first == records.arithmetic(cpu) and torch.equal(state, torch.get_rng_state())
    assert re.fullmatch(r"(fp32|bf16) [0-9a-f]{8}", first)


@pytest.mark.parametrize(
    ("metric", "value", "wanted"),
    [
        ("accuracy", 0.0312, "+3.1 points"),
        ("macro F1", -0.0312, "−3.1 points"),
        ("accuracy", -0.0001, "0.0 points"),
        ("nats per token", 0.01234, "+0.0123 nats per token"),
    ],
)
def test_values_in_print(metric, value, wanted):
    assert records.describe(metric, value) == wanted
    assert records.describe("accuracy", 0.05, (-0.01, 0.11)) == "+5.0 points [−1.0, +11.0]"
    assert records.describe("accuracy", -0.05, sign=False) == "−5.0 points"
