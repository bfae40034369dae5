"""T5's define cells: corruption and its inverse, objectives, and the network's invariances."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlib import models, pretrain

t5 = pretrain.definitions("05_t5")
SMALL = {"vocab_size": 40, "sentinels": 4, "d_model": 16, "d_ff": 32, "num_heads": 2, "num_layers": 2}
TEXT = st.lists(st.integers(4, t5.PIECES - 1), min_size=2, max_size=200)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return t5.T5(**SMALL).eval()


@given(TEXT, st.integers(0, 10**6))
def test_what_was_corrupted_comes_back_and_lengths_are_the_papers(ids, seed):
    mask = t5.span_mask(len(ids), random.Random(seed))
    inputs, targets = t5.corrupt(ids, mask)
    noisy, spans = t5.noise(len(ids))
    assert t5.reconstruct(inputs, targets) == ids
    assert (len(inputs), len(targets)) == (len(ids) - noisy + spans + 1, noisy + spans + 1)
    assert not mask[0] and mask[-1]
    gaps = [token for token in inputs if token >= t5.PIECES]
    assert gaps == [t5.sentinel(k) for k in range(spans)] == [token for token in targets if token >= t5.PIECES]


@given(TEXT, st.integers(0, 10**6))
def test_any_mask_with_few_enough_gaps_is_inverted(ids, seed):
    mask = [random.Random(seed + place).random() < 0.1 for place in range(len(ids))]
    if sum(mask) <= t5.SENTINELS:
        assert t5.reconstruct(*t5.corrupt(ids, mask)) == ids


def test_more_gaps_than_sentinels_and_too_short_a_text_are_refused():
    with pytest.raises(ValueError, match="sentinels 0 to 31"):
        t5.corrupt([5, 6] * 40, [False, True] * 40)
    with pytest.raises(ValueError, match="give at least 2"):
        t5.span_mask(1, random.Random(0))


@pytest.mark.parametrize("objective", t5.OBJECTIVES)
def test_an_objective_is_the_same_each_time_and_gives_back_the_whole_text(objective):
    rows = torch.arange(4, 4 + 40 * 20).view(40, 20).short()
    batches = t5.ObjectiveBatches(rows, objective, 8, 12, seed=3)
    again = t5.ObjectiveBatches(rows, objective, 8, 12, seed=3)
    for i in (11, 0, 5):  # in any order, across the passes
        assert all(torch.equal(a, b) for a, b in zip(batches[i], again[i], strict=True))
    ids, mask, labels = batches[0]
    assert ids.shape == mask.shape and len(labels) == 8
    inputs, targets = t5.OBJECTIVES[objective]([*range(10, 40)], random.Random(0))
    assert set(range(10, 40)) <= set(inputs) | set(targets) and inputs[-1] == targets[-1] == t5.EOS


def test_every_objective_reads_the_same_rows_in_the_same_order():
    rows = torch.arange(4, 4 + 40 * 20).view(40, 20).short()
    seen = []
    for objective in ("whole", "order"):
        batches = t5.ObjectiveBatches(rows, objective, 8, 10, seed=0)
        seen.append([batches[i][2][:, :20].tolist() for i in range(10)])  # their targets are the text
    assert seen[0] == seen[1]


def test_padding_and_later_tokens_change_nothing(tiny):
    ids, mask, answer = torch.randint(4, 40, (2, 7)), torch.ones(2, 7), torch.randint(4, 40, (2, 5))
    logits = tiny(ids, mask, answer)
    more = torch.nn.functional.pad
    torch.testing.assert_close(tiny(more(ids, (0, 3), value=9), more(mask, (0, 3)), answer), logits)
    torch.testing.assert_close(tiny(ids, mask, answer[:, :3]), logits[:, :3])


def test_step_by_step_with_kept_keys_and_values_is_all_at_once(tiny):
    ids, mask, answer = torch.randint(4, 40, (2, 7)), torch.ones(2, 7), torch.randint(4, 40, (2, 5))
    memory, past, steps = tiny.remember(tiny.encode(ids, mask)), None, []
    for place in range(5):
        x, past = tiny.decode(answer[:, place : place + 1], memory, mask, past)
        steps.append(tiny.logits(x))
    torch.testing.assert_close(torch.cat(steps, dim=1), tiny(ids, mask, answer))


def test_the_loss_leaves_padding_out(tiny):
    batch = t5.as_batch([([5, 6, t5.EOS], [7, 8, 9, t5.EOS]), ([10, t5.EOS], [11, t5.EOS])])
    first, second = (t5.t5_loss(tiny, t5.as_batch([pair])) for pair in (
        ([5, 6, t5.EOS], [7, 8, 9, t5.EOS]), ([10, t5.EOS], [11, t5.EOS])))  # fmt: skip
    torch.testing.assert_close(t5.t5_loss(tiny, batch), (4 * first + 2 * second) / 6)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_network_takes_the_weights_that_ship_and_they_know_more_than_frequencies(seed):
    weights, card = models.checkpoint(f"t5_mini_spans_{seed}")
    t5.T5(**card["architecture"]).load_state_dict(weights)
    assert card["valid_loss_of_pieces"] < card["unigram_loss"] - 0.5
