"""Chapter 06's define cells: cuts and windows, pooling, rates by layer, pretraining rows, thin changes, parity."""

import copy
import math
import random
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import BertConfig, BertForPreTraining, BertModel

from tlib import encoding, pretrain, training

tune = pretrain.definitions("06_how-to-fine-tune-bert")
SEEDS = st.integers(0, 10**6)
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 60}
SIZES |= {"intermediate_size": 32, "max_position_embeddings": 40}
SPECIAL = (0, 1, 2, 3, 5, 60)  # padding, [CLS], [SEP], [MASK], the first word, number of pieces


@pytest.fixture
def encoder() -> BertModel:
    torch.manual_seed(0)
    return BertModel(BertConfig(**SIZES)).eval()


def rows_of(rng: random.Random, lengths: list[int]) -> list[list[int]]:
    return [[rng.randrange(5, 60) for _ in range(length)] for length in lengths]


# Cutting


@given(st.integers(0, 80), st.integers(0, 30), st.data())
def test_head_and_tail_keep_their_ends_and_never_overlap(length, room, data):
    head = data.draw(st.integers(0, room))
    ids = list(range(length))
    kept = tune.head_and_tail(ids, room, head)
    assert len(kept) == min(length, room) and kept == sorted(set(kept))
    if length > room:
        assert kept[:head] == ids[:head] and kept[head:] == ids[length - (room - head) :]


@given(st.integers(1, 200), st.integers(1, 30), st.integers(1, 9))
def test_windows_begin_and_end_the_text_and_are_no_more_than_it_takes(length, room, most):
    ids = list(range(length))
    windows = tune.spread_windows(ids, room, most)
    needed = math.ceil(length / room)
    assert len(windows) == min(most, needed) and all(len(window) == min(room, length) for window in windows)
    assert windows[0][0] == 0
    assert all(window == list(range(window[0], window[-1] + 1)) for window in windows)
    if len(windows) > 1:
        assert windows[-1][-1] == length - 1
        steps = np.diff([window[0] for window in windows])
        assert steps.min() >= 1 and steps.max() - steps.min() <= 1
    if needed <= most:
        assert {piece for window in windows for piece in window} == set(ids)


# Reading


@given(SEEDS, st.sampled_from(["mean", "max", "attention"]))
def test_windows_are_combined_as_text_by_text(seed, how):
    generator = torch.Generator().manual_seed(seed)
    vectors, query = torch.randn(4, 5, 6, generator=generator), torch.randn(6, generator=generator)
    counts = [1, 5, 3, 2]
    real = torch.arange(5) < torch.tensor(counts)[:, None]
    found = tune.combine_windows(vectors, real, how, query)
    for row, text, count in zip(found, vectors, counts, strict=True):
        own = text[:count]
        by_hand = {
            "mean": own.mean(dim=0),
            "max": own.amax(dim=0),
            "attention": (own @ query).softmax(dim=0) @ own,
        }
        torch.testing.assert_close(row, by_hand[how])


def test_another_way_to_combine_is_refused():
    with pytest.raises(ValueError, match="'sum'"):
        tune.combine_windows(torch.ones(1, 2, 3), torch.ones(1, 2).bool(), "sum")


def test_layers_and_means_are_the_librarys(encoder):
    ids, mask = torch.tensor([[1, 7, 8, 9, 2], [1, 11, 2, 0, 0]]), torch.tensor([[1] * 5, [1] * 3 + [0] * 2])
    with torch.no_grad():
        library = encoder(ids, attention_mask=mask).last_hidden_state
        states = encoding.run_layers(encoder.encoder.layer, encoder.embeddings(input_ids=ids), mask)
    torch.testing.assert_close(states[mask.bool()], library[mask.bool()], atol=1e-5, rtol=1e-5)
    means = encoding.mean_state(states, mask)
    torch.testing.assert_close(means[1], states[1, :3].mean(dim=0))
    assert encoding.mean_state(states, torch.zeros_like(mask)).abs().max() == 0, "all is padding: no nan"


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_network_on_cached_states_is_the_network_on_the_text(encoder, depth):
    texts = [rows_of(random.Random(i), lengths) for i, lengths in enumerate([[9, 4], [6], [3, 9, 9]])]
    cache = tune.StateCache(encoder, depth, SPECIAL[1:3])
    inputs, mask = cache.batch(texts)
    assert mask.shape == (3, 3, 11) and inputs.dim() == (4 if depth else 3)
    assert mask.sum().item() == sum(len(row) + 2 for text in texts for row in text)
    torch.manual_seed(1)
    layers = copy.deepcopy(encoder.encoder.layer[depth:])
    network = tune.Network(layers, 16, 4, "max", None if depth else copy.deepcopy(encoder.embeddings)).eval()
    own = torch.ones(3, 4).bool()
    with torch.no_grad():
        logits = network(inputs, mask, own)
        for row, text in zip(logits, texts, strict=True):
            vectors = []
            for window in text:
                ids = torch.tensor([[1, *window, 2]])
                vectors.append(encoder(ids).last_hidden_state[0].mean(dim=0))
            by_hand = network.head(torch.stack(vectors).amax(dim=0))
            torch.testing.assert_close(row, by_hand, atol=2e-2 if depth else 1e-4, rtol=0)


def test_a_row_goes_through_the_frozen_layers_once(encoder):
    calls = []
    encoder.encoder.layer[0].register_forward_pre_hook(lambda layer, inputs: calls.append(len(inputs[0])))
    cache = tune.StateCache(encoder, 2, SPECIAL[1:3])
    texts = [rows_of(random.Random(0), [5, 6]), rows_of(random.Random(1), [5])]
    first = cache.batch(texts)
    again = cache.batch([texts[1], texts[0], texts[1]])
    assert sum(calls) == 3
    assert torch.equal(again[0][0, 0, :7], first[0][1, 0, :7])


def test_a_task_sees_its_own_rows_of_the_classifier_alone(encoder):
    torch.manual_seed(0)
    network = tune.Network([], 16, 5).eval()
    states, mask, own = torch.randn(2, 1, 4, 16), torch.ones(2, 1, 4).bool(), torch.zeros(2, 5).bool()
    own[0, :2], own[1, 2:] = True, True
    labels = torch.tensor([1, 4])
    loss = tune.task_loss(network, (states, mask, own, labels))
    logits = network.head(states.mean(dim=(1, 2)))
    by_hand = (nn.functional.cross_entropy(logits[:1, :2], labels[:1]) + nn.functional.cross_entropy(
        logits[1:, 2:], labels[1:] - 2)) / 2  # fmt: skip
    torch.testing.assert_close(loss, by_hand)


def test_states_by_layer_are_the_librarys_and_layers_are_combined(encoder):
    rows = [(1, 7, 8, 9, 2), (1, 12, 2), (1, 9, 9, 2)]
    found = tune.states_by_layer(encoder, rows, torch.device("cpu"))
    assert found.shape == (2, 4, 3, 16)
    for place, row in enumerate(rows):
        with torch.no_grad():
            library = encoder(torch.tensor([row]), output_hidden_states=True).hidden_states
        for depth, states in enumerate(library):
            np.testing.assert_allclose(found[0, depth, place], states[0, 0], atol=5e-2)
            np.testing.assert_allclose(found[1, depth, place], states[0].mean(dim=0), atol=5e-2)
    joined = tune.combine_layers(found[1], [1, 3], "concatenation")
    np.testing.assert_array_equal(joined, np.hstack([found[1, 1], found[1, 3]]))
    np.testing.assert_allclose(tune.combine_layers(found[1], [1, 3], "mean"), (found[1, 1] + found[1, 3]) / 2)
    np.testing.assert_array_equal(tune.combine_layers(found[1], [1, 3], "max"), found[1, [1, 3]].max(axis=0))


# Rates


@given(st.integers(1, 24), st.floats(0.5, 1.0))
def test_rates_fall_from_layer_to_layer(num_layers, xi):
    rates = tune.layerwise_rates(num_layers, 2e-5, xi)
    assert len(rates) == num_layers + 1 and rates[-1] == 2e-5
    assert all(low == pytest.approx(xi * high) for low, high in pairwise(rates))


@pytest.mark.parametrize("how", ["mean", "attention"])
@pytest.mark.parametrize("frozen", [0, 2])
def test_each_parameter_is_in_exactly_one_group_with_its_rate(encoder, frozen, how):
    embeddings = None if frozen else encoder.embeddings
    network = tune.Network(encoder.encoder.layer[frozen:], 16, 2, how, embeddings)
    groups = tune.parameter_groups(network, 1.0, 0.5, 3.0)
    found = {id(p): group for group in groups for p in group["params"]}
    assert len(found) == len(list(network.parameters())) == sum(len(group["params"]) for group in groups)
    for name, parameter in network.named_parameters():
        group = found[id(parameter)]
        depth = int(name.split(".")[1]) if name.startswith("layers") else -1
        expected = 3.0 if name.startswith(("head", "query")) else 0.5 ** (2 - frozen - depth)
        assert group["lr"] == expected, name
        assert group["weight_decay"] == (0.01 if parameter.dim() > 1 else 0.0), name


def test_batches_are_read_once():
    order = list(range(8))
    batches = tune.Batches(list, order, 2)
    assert len(batches) == 4 and [item for batch in map(batches.__getitem__, range(4)) for item in batch] == order


def test_training_moves_what_is_given(encoder):
    network = tune.Network(copy.deepcopy(encoder.encoder.layer[2:]), 16, 2)
    states, mask = torch.randn(8, 1, 5, 16), torch.ones(8, 1, 5).bool()
    batch = states, mask, torch.ones(8, 2).bool(), torch.tensor([0, 1] * 4)
    before = [p.detach().clone() for p in network.parameters()]
    history = tune.train(network, tune.Batches(lambda items: batch, np.arange(24), 8), 1e-3, 1e-2)
    moved = [not torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True)]
    assert len(history.losses) == 3 and all(moved)


# More pretraining


@settings(max_examples=30)
@given(SEEDS)
def test_masks_choose_as_many_as_they_should_and_nothing_special(seed):
    rng = random.Random(seed)
    rows = [[1, *row, 2] for row in rows_of(rng, [rng.randrange(1, 40) for _ in range(5)])]
    ids = torch.zeros(5, max(map(len, rows)), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    real = ids != 0
    corrupted, labels = tune.mask_pieces(ids, real, torch.Generator().manual_seed(seed), SPECIAL)
    chosen = labels != tune.IGNORE
    assert chosen.sum(dim=1).tolist() == [max(1, round(0.15 * len(row))) for row in rows]
    assert torch.equal(labels[chosen], ids[chosen]) and (ids[chosen] >= 5).all()
    assert torch.equal(corrupted[~chosen], ids[~chosen])
    shown = corrupted[chosen]
    assert ((shown == 3) | (shown >= 5)).all(), "no special piece but [MASK] is put in"
    again, _ = tune.mask_pieces(ids, real, torch.Generator().manual_seed(seed), SPECIAL)
    assert torch.equal(again, corrupted)


def test_masks_are_of_three_kinds():
    ids = torch.randint(5, 60, (400, 40), generator=torch.Generator().manual_seed(0))
    corrupted, labels = tune.mask_pieces(ids, ids > 0, torch.Generator().manual_seed(1), SPECIAL)
    chosen = labels != tune.IGNORE
    hidden, same = corrupted[chosen] == 3, corrupted[chosen] == ids[chosen]
    assert hidden.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert same.float().mean().item() == pytest.approx(0.1 + 0.1 / 55, abs=0.02)


@settings(max_examples=30)
@given(SEEDS, st.integers(12, 40))
def test_a_segment_follows_in_its_document_or_comes_from_another(seed, max_length):
    rng, documents, number = random.Random(seed), [], 0
    for _ in range(4):
        sentences = []
        for _ in range(rng.randrange(1, 9)):
            size = rng.randrange(1, 12)
            sentences.append(list(range(number, number + size)))  # each piece is unique: it tells its place
            number += size
        documents.append(sentences)
    owner = {piece: d for d, sentences in enumerate(documents) for sentence in sentences for piece in sentence}
    rows = tune.next_sentence_rows(documents, max_length, rng)
    assert {owner[a[0]] for a, _, _ in rows} == set(range(4)), "every document is read"
    for a, b, is_random in rows:
        assert a and b and len(a) + len(b) <= max_length - 3
        assert len({owner[piece] for piece in a}) == len({owner[piece] for piece in b}) == 1
        assert (owner[a[0]] != owner[b[0]]) == bool(is_random)
        if not is_random:
            assert 0 < b[0] - a[-1] <= 12, "behind A, but for what was cut off its last sentence"


def test_one_document_is_not_enough():
    with pytest.raises(ValueError, match="another document"):
        tune.next_sentence_rows([[[5, 6], [7]]], 20, random.Random(0))


class Lengths:
    """A tokenizer: the length of each word."""

    def encode_batch_fast(self, parts, add_special_tokens):
        assert not add_special_tokens
        return [SimpleNamespace(ids=[len(word) for word in part.split()]) for part in parts]


def test_texts_become_sentences_of_pieces():
    found = tune.sentences_of(["It is so. Why not?\n\nYes", "  \n", "a b c d e"], Lengths(), longest=3)
    assert found == [[[2, 2, 3], [3, 4], [3]], [[1, 1, 1], [1, 1]]]


@pytest.fixture
def network() -> BertForPreTraining:
    torch.manual_seed(2)
    return BertForPreTraining(BertConfig(**SIZES)).eval()


def test_the_loss_is_the_librarys(network):
    ids = torch.tensor([[1, 7, 8, 9, 2, 12, 2], [1, 11, 2, 14, 2, 0, 0]])
    mask, segments = (ids != 0).long(), torch.tensor([[0] * 5 + [1] * 2, [0] * 3 + [1] * 2 + [0] * 2])
    labels = torch.full_like(ids, tune.IGNORE)
    labels[0, 2], labels[1, 1] = 30, 40
    is_random = torch.tensor([0, 1])
    theirs = network(ids, attention_mask=mask, token_type_ids=segments, labels=labels, next_sentence_label=is_random)
    loss = tune.pretraining_loss(network, (ids, mask, segments, labels, is_random))
    torch.testing.assert_close(loss, theirs.loss)


def test_the_small_bert_ships_with_both_heads_and_tells_random_sentences():
    network, tokenizer = tune.small_bert()
    a, b = tune.pieces_of(["The ship sailed north.", "It reached the coast of the island."], tokenizer)
    assert network.training is False and max(a + b) < tune.PIECES
    words = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    assert [tokenizer.token_to_id(word) for word in words] == [tune.PAD, tune.CLS, tune.SEP, tune.MASK]
    masked = [tune.CLS, *tune.pieces_of(["the capital of the"], tokenizer)[0], tune.MASK, tune.SEP]
    with torch.no_grad():
        out = network(torch.tensor([masked]))
    assert out.prediction_logits.shape == (1, len(masked), tune.PIECES) and out.seq_relationship_logits.shape == (1, 2)
    decoder, words = network.cls.predictions.decoder.weight, network.bert.embeddings.word_embeddings.weight
    assert decoder.data_ptr() == words.data_ptr()


def test_pretraining_batches_follow_from_the_seed_and_mark_the_second_segment():
    rng = random.Random(0)
    documents = [rows_of(rng, [7, 5, 9, 8]) for _ in range(6)]
    shape = {"batch_size": 4, "max_length": 24, "updates": 9}
    batches = tune.PretrainingBatches(documents, **shape, seed=3)
    assert len(batches) == 9
    ids, mask, segments, labels, is_random = batches[5]
    assert torch.equal(ids, tune.PretrainingBatches(documents, **shape, seed=3)[5][0])
    assert not all(
        torch.equal(batches[i][0], tune.PretrainingBatches(documents, **shape, seed=4)[i][0]) for i in range(3)
    )
    assert ids.shape[1] <= 24 and ids.shape == mask.shape == segments.shape == labels.shape
    assert (segments <= mask).all() and segments.sum(dim=1).min() >= 2
    starts = segments.argmax(dim=1)
    assert (ids[torch.arange(len(ids)), starts - 1] == tune.SEP).all(), "the second segment stands behind [SEP]"
    assert set(is_random.tolist()) <= {0, 1}


def test_a_short_last_batch_of_a_pass_is_filled_up_from_its_beginning():
    rng = random.Random(1)
    documents = [rows_of(rng, [7, 5, 9, 8]) for _ in range(5)]
    batches = tune.PretrainingBatches(documents, batch_size=4, max_length=24, updates=60, seed=0)
    assert all(len(batches[update][0]) == 4 for update in range(60)), "passes differ in their number of rows"


def test_the_measure_of_forgetting_is_the_mean_loss_of_each_rows_masked_pieces(network, monkeypatch):
    rows = [[1, *row, 2] for row in rows_of(random.Random(3), [12, 20, 9])]
    monkeypatch.setitem(tune.further_pretrain.__globals__, "mask_pieces", lambda ids, real, generator: (
        torch.where(torch.arange(ids.size(1)) == 3, 4, ids),
        torch.where(torch.arange(ids.size(1)) == 3, ids, tune.IGNORE),
    ))  # fmt: skip
    found = tune.masked_word_loss(network, rows)
    for row, loss in zip(rows, found, strict=True):
        ids = torch.tensor([row])
        ids[0, 3] = 4
        with torch.no_grad():
            scores = network(ids).prediction_logits[0, 3]
        assert loss == pytest.approx(nn.functional.cross_entropy(scores, torch.tensor(row[3])).item(), abs=0.1)


# Thin changes


@given(SEEDS, st.integers(1, 6))
def test_a_thin_change_is_the_nearest_of_its_rank(seed, rank):
    generator = torch.Generator().manual_seed(seed)
    before = {"w": torch.randn(20, 30, generator=generator), "b": torch.randn(7, generator=generator)}
    after = {"w": torch.randn(20, 30, generator=generator), "b": torch.randn(7, generator=generator)}
    change = tune.low_rank_change(before, after, rank)
    assert change.keys() == {"w/left", "w/right", "b"}
    assert change["w/left"].shape == (rank, 20) and change["w/right"].shape == (rank, 30)
    delta = after["w"] - before["w"]
    left_out = (delta - change["w/left"].T @ change["w/right"]).square().sum()
    torch.testing.assert_close(left_out, torch.linalg.svdvals(delta)[rank:].square().sum(), rtol=1e-3, atol=1e-3)


def test_what_did_not_change_is_left_out_and_small_matrices_are_whole():
    before = {"same": torch.ones(40, 40), "small": torch.zeros(4, 4), "b": torch.zeros(3)}
    after = before | {"small": torch.ones(4, 4)}
    assert tune.low_rank_change(before, after, 2).keys() == {"small"}


def test_a_change_survives_the_shipping_and_is_applied(encoder, tmp_path):
    from tlib import models

    torch.manual_seed(4)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    trained = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    change = tune.low_rank_change(before, trained.state_dict(), 40)  # no matrix is thin enough: all whole
    assert not any("/left" in name for name in change)
    whole = tune.apply_change(copy.deepcopy(encoder), change)
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(parameter, trained.get_parameter(name))
    thin = tune.low_rank_change(before, trained.state_dict(), 4)
    packed = models.unpack(models.pack(thin))
    assert packed.keys() == thin.keys()
    exact, shipped = (tune.apply_change(copy.deepcopy(encoder), c) for c in (thin, packed))
    for name, parameter in shipped.named_parameters():
        torch.testing.assert_close(parameter, exact.get_parameter(name), atol=5e-3, rtol=0)


def test_a_change_of_another_model_is_refused(encoder):
    with pytest.raises(ValueError, match=r"nothing\.here"):
        tune.apply_change(encoder, {"nothing.here/left": torch.zeros(1, 2), "nothing.here/right": torch.zeros(1, 2)})


class Letters:
    """A tokenizer: a piece for each letter."""

    def encode_batch_fast(self, parts, add_special_tokens):
        return [SimpleNamespace(ids=[5 + ord(letter) % 50 for letter in part]) for part in parts]


def test_more_pretraining_learns_and_says_what_it_cost(network, monkeypatch):
    start = {name: tensor.clone() for name, tensor in network.bert.state_dict().items()}
    dev = {"dev": {"text": ["a held out article, of a bank", "another one"] * 3}}
    fakes = SimpleNamespace(
        data=SimpleNamespace(load=lambda name: dev), encoding=encoding, training=training,
        batching=__import__("tlib").batching,
    )  # fmt: skip
    names = tune.further_pretrain.__globals__
    monkeypatch.setitem(names, "tlib", fakes)
    monkeypatch.setitem(names, "small_bert", lambda dropout: (network, None))
    monkeypatch.setitem(names, "PIECES", 60)
    documents = ["The ship sailed north. It was cold. Ice came.", "War or peace? Nobody knew. Winter came."] * 4
    settings_ = {"updates": 3, "batch_size": 4, "max_length": 24, "lr": 1e-2, "warmup": 0.1, "rank": 2, "held_out": 4}
    change, card = tune.further_pretrain(documents, Letters(), seed=0, **settings_)
    assert len(card["losses"]) == card["updates"] == 3 and 3 * 4 * 5 < card["tokens_seen"] <= 3 * 4 * 24
    assert card["architecture"] == {"hidden_size": 16, "vocab_size": 60} and card["base"] == "bert_small"
    assert card["rank"] == 2 and card["valid_loss"] < card["valid_loss_before"], "letters are soon learned"
    assert all(any(part in name for name in change) for part in ("word_embeddings", "query.weight/left", "pooler"))
    rebuilt = BertModel(network.config)
    rebuilt.load_state_dict(start)
    tune.apply_change(rebuilt, change)
    for name, parameter in rebuilt.named_parameters():
        torch.testing.assert_close(parameter, network.bert.get_parameter(name))


def test_all_runs_on_one_device():
    labels = torch.full((4, 12), tune.IGNORE)
    labels[:, 3] = 7
    training.check_devices(
        lambda: BertForPreTraining(BertConfig(**SIZES)),
        tune.pretraining_loss,
        lambda: (*[torch.ones(4, 12).long() for _ in range(3)], labels, torch.zeros(4).long()),
    )
