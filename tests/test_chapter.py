"""The frame of a chapter: profile, settings, claims, the record and its comparison with the committed one."""

import json
import os
import random
import re

import numpy as np
import pytest
import torch

import tlib
from tlib import chapter, claims, records


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test writes to folders of its own, at the laptop profile."""
    monkeypatch.setenv("TLIB_PROFILE", "laptop")
    monkeypatch.setenv("TLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("TLIB_COMMITTED", str(tmp_path / "committed"))
    monkeypatch.delenv("TLIB_ACCEPT", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def start(**changes) -> chapter.Chapter:
    return tlib.start("03_ulmfit", **{"title": "ULMFiT", "paper": "Howard & Ruder (2018)", "idea": "Reuse."} | changes)


def declare(ch: chapter.Chapter, id: str = "low-shot", **changes):
    facts = {"paper": "Figure 3", "reported": "10 times fewer labels", "metric": "accuracy"}
    return ch.claim(id, "With 100 labels, pretraining helps.", **facts | changes)


def run(gain: float = 0.3, control_gain: float = 0.0, **changes) -> chapter.Chapter:
    """A whole chapter with one claim, ready to finish."""
    ch = start()
    claim = declare(ch, **changes)
    luck = np.random.default_rng(0).random((2, 5, 300))
    baseline = luck[1] < 0.5
    claim.test(luck[0] < 0.5 + gain, baseline)
    claim.control("shuffled labels", luck[0] < 0.5 + control_gain, baseline)
    return ch


def commit(tmp_path, ch: chapter.Chapter, **changes) -> None:
    record = ch.record()
    record["claims"][0] |= changes
    records.write_record(tmp_path / "committed" / "03_ulmfit.json", record)


def test_a_chapter_starts_seeded_single_threaded_and_deterministic(capsys):
    ch = start(seed=3)
    drawn = random.random(), np.random.random(), torch.rand(1).item()
    assert (ch.profile, ch.device.type, ch.threads, ch.seed) == ("laptop", "cpu", 1, 3)
    assert torch.are_deterministic_algorithms_enabled()
    start(seed=3)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == drawn
    card = ch._repr_markdown_()
    for fact in ("ULMFiT", "Howard & Ruder (2018)", "Reuse.", "laptop", "cpu", "1 thread"):
        assert fact in card


def test_the_profile_follows_the_machine_and_the_environment(monkeypatch):
    monkeypatch.setenv("TLIB_PROFILE", "paper")
    assert start().profile == "paper"
    monkeypatch.delenv("TLIB_PROFILE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert start().profile == "laptop"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chapter._default_profile() == "colab"
    monkeypatch.setenv("TLIB_PROFILE", "desktop")
    with pytest.raises(ValueError, match="'desktop': use one of laptop, colab, paper"):
        start()


def test_scale_gives_this_profiles_settings():
    size = start().scale(laptop={"epochs": 1}, colab={"epochs": 5}, paper={"epochs": 50})
    assert size.epochs == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"laptop": {"a": 1}, "paper": {"a": 2}}, "give them for laptop, colab, paper"),
        ({"laptop": {"a": 1}, "colab": {"a": 1}, "paper": {"a": 2, "b": 3}}, "needs b"),
    ],
)
def test_scale_refuses_settings_that_would_break_at_another_profile(settings, message):
    with pytest.raises(ValueError, match=message):
        start().scale(**settings)


def test_a_claim_knows_what_is_expected_at_this_profile():
    ch = start()
    assert declare(ch, expect={"laptop": "inconclusive", "paper": "confirmed"}).expected == "inconclusive"
    assert declare(ch, "other", expect={"paper": "confirmed"}).expected is None
    with pytest.raises(ValueError, match="declared already"):
        declare(ch)
    with pytest.raises(ValueError, match="'desktop'"):
        declare(ch, "third", expect={"desktop": "confirmed"})
    with pytest.raises(ValueError, match="'maybe'"):
        declare(ch, "fourth", expect={"paper": "maybe"})


def test_finish_lists_all_that_is_missing(tmp_path):
    ch = run(control_gain=0.3)
    declare(ch, "untested")
    declare(ch, "uncontrolled").test(np.eye(4), np.ones((4, 4)))
    with pytest.raises(chapter.ChapterError) as caught:
        ch.finish()
    for text in (
        "(shuffled labels) was confirmed",
        "'untested' was not tested",
        "'uncontrolled' has no negative control",
    ):
        assert text in str(caught.value)
    assert not (tmp_path / "results").exists()
    with pytest.raises(chapter.ChapterError, match="declares no claim"):
        start().finish()


def test_finish_writes_the_record(tmp_path, capsys):
    ch = run(expect={"laptop": "confirmed"})
    ch.note("labels that match", 340)
    ch.finish()
    record = records.read_record(tmp_path / "results" / "03_ulmfit.json")
    assert list(record) == [
        *("chapter", "profile", "threads", "wall_s", "device", "arithmetic", "peak_mb", "versions", "commit"),
        *("data", "notes", "claims"),
    ]
    assert (record["chapter"], record["profile"], record["threads"]) == ("03_ulmfit", "laptop", 1)
    assert record["device"].startswith("cpu")
    assert 50 < record["peak_mb"] < 5000
    assert record["versions"]["numpy"] == np.__version__
    assert record["notes"] == {"labels that match": 340}
    assert record["claims"][0]["expected"] == record["claims"][0]["verdict"] == "confirmed"
    assert not (tmp_path / "committed").exists()
    assert "1 claims tested and recorded, their verdicts not committed yet" in capsys.readouterr().out


def test_two_runs_record_the_same_claims(tmp_path):
    first, second = run().record(), run().record()
    assert json.dumps(first["claims"]) == json.dumps(second["claims"])


def test_the_data_sets_are_recorded_by_their_hashes():
    assert re.fullmatch("[0-9a-f]{64}", start(data=["bbc_news"]).record()["data"]["bbc_news"])
    with pytest.raises(Exception, match="no_such_data"):
        start(data=["no_such_data"])


def test_a_note_that_cannot_be_recorded_is_refused_at_once():
    with pytest.raises(records.RecordError, match="finite numbers"):
        start().note("losses", np.ones(3))


def test_a_verdict_as_committed_passes_and_leaves_the_committed_record(tmp_path, capsys):
    commit(tmp_path, run(), effect=0.29)
    before = (tmp_path / "committed" / "03_ulmfit.json").read_bytes()
    run().finish()
    assert "as committed" in (out := capsys.readouterr().out)
    assert "numbers moved" not in out
    assert (tmp_path / "committed" / "03_ulmfit.json").read_bytes() == before


def test_a_changed_verdict_fails_unless_it_is_accepted(tmp_path, monkeypatch):
    commit(tmp_path, run(), verdict="refuted")
    with pytest.raises(chapter.ChapterError, match=r"confirmed .*committed as refuted(.|\n)*--accept"):
        run().finish()
    assert records.read_record(tmp_path / "results" / "03_ulmfit.json")["claims"][0]["verdict"] == "confirmed"
    assert records.read_record(tmp_path / "committed" / "03_ulmfit.json")["claims"][0]["verdict"] == "refuted"
    monkeypatch.setenv("TLIB_ACCEPT", "1")
    run().finish()
    assert records.read_record(tmp_path / "committed" / "03_ulmfit.json")["claims"][0]["verdict"] == "confirmed"


def test_accepting_does_not_excuse_a_confirmed_control(tmp_path, monkeypatch):
    monkeypatch.setenv("TLIB_ACCEPT", "1")
    with pytest.raises(chapter.ChapterError, match="was confirmed"):
        run(control_gain=0.3).finish()
    assert not (tmp_path / "committed").exists()


def test_a_fragile_verdict_that_crosses_warns(tmp_path, capsys):
    commit(tmp_path, run(), verdict="inconclusive", fragile=True)
    run().finish()
    assert "warn: low-shot: confirmed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "replaced"), [({"effect": 0.29}, True), ({"fragile": True, "verdict": "refuted"}, False)]
)
def test_without_a_folder_for_results_only_moved_numbers_replace_the_committed_record(
    tmp_path, monkeypatch, changes, replaced
):
    commit(tmp_path, run(), **changes)
    path = tmp_path / "committed" / "03_ulmfit.json"
    before = path.read_bytes()
    monkeypatch.setenv("TLIB_RESULTS", str(tmp_path / "committed"))
    if replaced:
        run().finish()
    else:
        with pytest.raises(chapter.ChapterError):
            run().finish()
    assert (path.read_bytes() != before) is replaced


def test_the_cache_is_the_chapters_own(tmp_path):
    assert start().cache == tmp_path / "cache" / "chapters" / "03_ulmfit" / "laptop"
    assert os.path.isdir(start().cache)


def test_the_table_of_verdicts_is_plain_and_escaped():
    ch = run(expect={"laptop": "confirmed"})
    claim = declare(ch, "odd", reported="p < 0.05 & more")
    claim.test(np.eye(4), 1 - np.eye(4))
    table = claims.verdict_table(ch.claims.values())
    assert "p &lt; 0.05 &amp; more (Figure 3)" in table
    assert table.count("<tr>") == 3
    assert 'class="verdict verdict-confirmed"' in table
    assert "shuffled labels: inconclusive" in table
    assert "color" not in table and "style=" not in table


def test_verdicts_are_shown_as_figure_and_table(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    run().verdicts()
    figure, table = (item.data for item in shown[1:])  # the first is the card
    assert 'alt="Effects of the claims' in figure
    assert table.startswith("<table")
    with pytest.raises(ValueError, match="no claim was tested yet"):
        start().verdicts()
