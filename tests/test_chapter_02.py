"""ELMo's biLM, from the notebook's cells that pretraining runs: its streams, its errors, and the weights that ship."""

import pytest
import torch

from tlib import models, pretrain


@pytest.fixture(scope="module")
def elmo():
    return pretrain.definitions("02_elmo")


@pytest.fixture
def tiny(elmo):
    torch.manual_seed(0)
    return elmo.BiLM(vocab_size=12, filters=[(1, 4), (3, 4)], cells=16, projection=8)


SENTENCES = [["The", "ship", "sailed", "."], ["Ice", "closed", "the", "harbour", "until", "spring", "."]]


def test_sentences_are_cut_at_their_ends_and_words_stay_whole(elmo):
    text = "Dr. Low's mother-in-law didn't go. She asked \"why?\" The U.S. team left.\nA heading\n\n"
    assert list(elmo.split_sentences(text)) == [
        ["Dr.", "Low's", "mother-in-law", "didn't", "go", "."],
        ["She", "asked", '"', "why", "?", '"'],
        ["The", "U.S.", "team", "left", "."],
        ["A", "heading"],
    ]
    assert list(elmo.split_sentences("")) == []


def test_a_word_is_its_bytes_between_marks(elmo):
    table = elmo.char_ids(["é", "y" * 80, "</S>"])
    assert table.shape == (3, elmo.MAX_CHARS) and table.max() < elmo.NUM_CHARS
    assert table[0, :5].tolist() == [elmo.BEGIN_WORD, 0xC3 + 1, 0xA9 + 1, elmo.END_WORD, 0]
    assert table[1, -1] == elmo.END_WORD and (table[1] != 0).all()
    assert table[2, :4].tolist() == [elmo.BEGIN_WORD, elmo.END_SENTENCE, elmo.END_WORD, 0]
    with pytest.raises(ValueError, match="char_ids needs at least one word"):
        elmo.char_ids([])


def test_words_are_numbered_by_frequency_behind_the_special_ones(elmo):
    types = elmo.word_types([["b", "a", "b"], ["c", "a", "b"]])
    assert types == ["<UNK>", "<S>", "</S>", "b", "a", "c"]
    assert elmo.word_types([["z", "b"]], first=types)[-2:] == ["c", "z"]
    assert elmo.as_ids([["a", "c"]], types) == [[1, 4, 5, 2]]


def test_rare_words_are_unknown_as_targets_only(elmo):
    windows = elmo.bilm_windows(torch.arange(40), vocab_size=10, batch_size=2, window=6)
    ids, targets = windows[0]
    assert ids[2].tolist() == [20, 21, 22, 23, 24, 25] and targets[2].tolist() == [elmo.UNK] * 6
    assert ids[0].tolist() == [0, 1, 2, 3, 4, 5] and targets[0].tolist() == [1, 2, 3, 4, 5, 6]
    assert ids[1].tolist() == [19, 18, 17, 16, 15, 14], "the next row reads the same text from its end"


def test_directions_do_not_share_their_lstm_but_share_words_and_softmax(elmo, tiny):
    chars, places = elmo.trim(elmo.char_ids(["a", "b", "c"]), 3), torch.tensor([[[0, 1, 2]], [[0, 1, 2]]])
    hidden, state = tiny(chars, places, tiny.initial_state(1))
    assert [h.shape for h in hidden] == [(2, 1, 3, 8)] * 3 and [h.shape for h, _ in state] == [(2, 1, 8)] * 2
    assert torch.equal(hidden[0][0], hidden[0][1]) and not torch.allclose(hidden[1][0], hidden[1][1])
    with torch.no_grad():
        tiny.layers[1].w_hr.zero_()  # then the second layer adds nothing to the first
    hidden, _ = tiny(chars, places, tiny.initial_state(1))
    assert torch.equal(hidden[1], hidden[2])


def test_a_short_training_lowers_the_loss_and_too_short_a_text_is_refused(elmo, tiny):
    types = elmo.word_types(SENTENCES)
    stream = torch.tensor([word for sentence in elmo.as_ids(SENTENCES * 200, types) for word in sentence])
    before = elmo.bilm_loss(tiny, types, stream, batch_size=4)
    settings = {"batch_size": 4, "window": 10, "lr": 1e-2, "updates": 60}
    history = elmo.train_bilm(tiny, types, [stream], **settings)
    assert len(history.losses) == 60 and elmo.bilm_loss(tiny, types, stream, batch_size=4) < before - 0.3
    with pytest.raises(ValueError, match="windows of text cannot give 900 updates: add a pass"):
        elmo.train_bilm(tiny, types, [stream], **settings | {"updates": 900})


def test_pretraining_returns_weights_and_what_the_card_needs(elmo, tmp_path):
    documents = [" ".join(word for sentence in SENTENCES for word in sentence)] * 30
    settings = {"architecture": {"vocab_size": 10, "filters": [[1, 4], [3, 4]], "cells": 16, "projection": 8}}
    settings |= {"batch_size": 2, "window": 5, "lr": 1e-2, "updates": 20, "passes": 2, "held_out": 6, "seed": 0}
    weights, card = elmo.pretrain_bilm(documents, None, tmp_path / "state.safetensors", **settings)
    elmo.BiLM(**card["architecture"]).load_state_dict(weights)
    assert len(card["vocabulary"]) == 10 and len(card["losses"]) == 20 and card["tokens_seen"] == 200
    assert 0 < card["valid_loss"] < 3 and card["seconds"] > 0


def test_the_shipped_weights_fit_the_chapters_network(elmo):
    weights, card = models.checkpoint("elmo_bilm")
    elmo.BiLM(**card["architecture"]).load_state_dict({key: tensor.float() for key, tensor in weights.items()})
    assert card["vocabulary"][:3] == elmo.SPECIAL_WORDS
    assert len(set(card["vocabulary"])) == card["architecture"]["vocab_size"]
    assert card["tokens_seen"] == card["updates"] * card["settings"]["batch_size"] * card["settings"]["window"]
