"""Batches: nothing lost, nothing twice, little padding, the same for the same seed."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlib.batching import bptt_batches, in_rounds, last_real, length_buckets, lm_streams, pad

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 3))
def test_buckets_hold_every_item_once(lengths, batch_size, epoch):
    buckets = length_buckets(lengths, batch_size, epoch=epoch)
    assert sorted(item for bucket in buckets for item in bucket) == list(range(len(lengths)))
    sizes = sorted(map(len, buckets), reverse=True)
    whole, rest = divmod(len(lengths), batch_size)
    assert sizes == [batch_size] * whole + [rest] * (rest > 0)
    ranges = sorted((min(lengths[i] for i in b), max(lengths[i] for i in b)) for b in buckets)
    assert all(one[1] <= other[0] for one, other in pairwise(ranges)), "like with like"


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 3))
def test_rounds_hold_each_item_once(items, count, seed):
    order = in_rounds(np.random.default_rng(seed), 10 * np.arange(items), count).tolist()
    assert len(order) == count
    for start in range(0, count, items):
        one = order[start : start + items]
        assert len(set(one)) == len(one) and set(one) <= {10 * i for i in range(items)}


def test_rounds_are_each_in_a_new_order_and_need_items():
    order = in_rounds(np.random.default_rng(0), range(50), 150).reshape(3, 50).tolist()
    assert len({tuple(one) for one in order}) == 3
    with pytest.raises(ValueError, match="at least one item"):
        in_rounds(np.random.default_rng(0), [], 3)


@given(LENGTHS, st.integers(60, 500), st.integers(0, 3))
def test_token_buckets_keep_to_their_budget(lengths, max_tokens, epoch):
    buckets = length_buckets(lengths, max_tokens=max_tokens, epoch=epoch)
    assert sorted(item for bucket in buckets for item in bucket) == list(range(len(lengths)))
    assert all(bucket and len(bucket) * max(lengths[i] for i in bucket) <= max_tokens for bucket in buckets)


def test_buckets_are_shuffled_by_seed_and_epoch_only():
    lengths = [5, 6] * 50
    first = length_buckets(lengths, 8, seed=1, epoch=0)
    assert first == length_buckets(lengths, 8, seed=1, epoch=0)
    others = [length_buckets(lengths, 8, seed=1, epoch=1), length_buckets(lengths, 8, seed=2, epoch=0)]
    assert all({frozenset(b) for b in other} != {frozenset(b) for b in first} for other in others)


def test_the_short_batch_is_not_always_the_longest_items():
    lengths = list(range(1, 36))
    found = {min(length_buckets(lengths, 8, epoch=epoch), key=len)[0] for epoch in range(50)}
    assert len(found) > 3


def test_bucket_refusals():
    assert length_buckets([], 8) == []
    with pytest.raises(ValueError, match="either batch_size or max_tokens"):
        length_buckets([1, 2])
    with pytest.raises(ValueError, match="either batch_size or max_tokens"):
        length_buckets([1, 2], 2, max_tokens=3)
    with pytest.raises(ValueError, match="item of 70 tokens does not fit max_tokens=64: truncate"):
        length_buckets([3, 70], max_tokens=64)
    with pytest.raises(ValueError, match="at least 1"):
        length_buckets([3], 0)


@given(st.lists(st.lists(st.integers(0, 999), min_size=0, max_size=9), min_size=1, max_size=9))
def test_padding_is_to_the_right_and_masked(sequences):
    input_ids, mask = pad(sequences, pad_id=7)
    assert input_ids.shape == mask.shape == (len(sequences), max(map(len, sequences)))
    assert input_ids.dtype == mask.dtype == torch.long
    for ids, kept, row in zip(sequences, mask, input_ids, strict=True):
        assert row[kept.bool()].tolist() == ids
        assert kept.tolist() == sorted(kept.tolist(), reverse=True)
        assert (row[~kept.bool()] == 7).all()


def test_padding_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one sequence"):
        pad([])


def test_the_last_real_state_is_not_the_padding():
    states, mask = torch.arange(24.0).view(2, 4, 3), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    assert last_real(states, mask).tolist() == [[3.0, 4.0, 5.0], [21.0, 22.0, 23.0]]
    longer = torch.cat([states, torch.full((2, 2, 3), 99.0)], dim=1), torch.nn.functional.pad(mask, (0, 2))
    assert torch.equal(last_real(*longer), last_real(states, mask))
    with pytest.raises(ValueError, match="all padding"):
        last_real(states, torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]]))


@given(st.integers(2, 300), st.integers(1, 9), st.integers(1, 20))
def test_streams_and_windows_cover_the_text_in_order(tokens, batch_size, bptt):
    ids = torch.arange(tokens)
    if tokens < 2 * batch_size:
        with pytest.raises(ValueError, match="smaller batch_size"):
            lm_streams(ids, batch_size)
        return
    streams = lm_streams(ids, batch_size)
    assert streams.shape == (batch_size, tokens // batch_size)
    assert streams.flatten().tolist() == list(range(batch_size * (tokens // batch_size)))
    batches = bptt_batches(streams, bptt)
    assert all(x.shape == y.shape == (batch_size, x.size(1)) and 1 <= x.size(1) <= bptt for x, y in batches)
    assert torch.equal(torch.cat([x for x, _ in batches], 1), streams[:, :-1])
    assert torch.equal(torch.cat([y for _, y in batches], 1), streams[:, 1:])


def test_streams_take_plain_lists_and_refuse_what_is_not_one_text():
    assert lm_streams([3, 1, 4, 1, 5], 2).tolist() == [[3, 1], [4, 1]]
    with pytest.raises(ValueError, match="one flat sequence"):
        lm_streams(torch.zeros(2, 3), 1)
    with pytest.raises(ValueError, match="at least 1"):
        bptt_batches(torch.zeros(2, 3, dtype=torch.long), 0)
