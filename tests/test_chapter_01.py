"""Chapter 01: the functions that pretraining runs, and the shipped weights in the chapter's own network."""

from itertools import pairwise

import pytest
import torch

from tlib import models, pretrain
from tlib.data import DataError
from tlib.recipes import DAI

chapter = pretrain.definitions("01_semi-supervised-sequence-learning")


@pytest.mark.parametrize("name", DAI)
def test_the_network_takes_the_shipped_weights(name):
    weights, card = models.checkpoint(name)
    model = chapter.TextLSTM(**card["architecture"])
    model.load_state_dict({key: tensor.float() for key, tensor in weights.items()}, strict=True)
    assert card["valid_loss"] == min(card["valid_curve"]) < card["curve"][0]


def test_the_two_language_models_had_one_budget():
    film, general = (models.checkpoint(f"dai_lm_{corpus}")[1] for corpus in ("film", "general"))
    assert film["tokens_seen"] == general["tokens_seen"]
    assert film["updates"] == pytest.approx(general["updates"], rel=0.05)


@pytest.mark.parametrize("name", ["dai_lm_film", "dai_sa_film"])
def test_the_networks_of_film_texts_were_trained_until_it_no_longer_helped(name):
    losses = models.checkpoint(name)[1]["valid_curve"]
    before, at_the_end = (losses[int(share * len(losses)) - 1] for share in (0.6, 0.75))  # of the full rate
    assert 0.99 * before < at_the_end < 1.01 * before


def test_the_decoder_is_given_what_came_before_and_asked_for_what_comes():
    inputs, targets = chapter.sa_batch([[5, 6, 7], [8]])
    bos, eos, pad, none = chapter.BOS, chapter.EOS, chapter.PAD, chapter.NO_TARGET
    assert inputs.tolist() == [[bos, 5, 6, 7, eos, 5, 6], [bos, 8, eos, pad, pad, pad, pad]]
    assert targets.tolist() == [[none] * 4 + [5, 6, 7], [none, none, 8, none, none, none, none]]


@pytest.mark.parametrize("sequences", [[], [[5], []]])
def test_nothing_to_repeat_is_refused(sequences):
    with pytest.raises(ValueError, match="at least one token"):
        chapter.sa_batch(sequences)


def test_the_autoencoders_loss_depends_on_what_was_read_and_not_on_padding():
    torch.manual_seed(0)
    model = chapter.TextLSTM(20, 4, 6).eval()
    losses = [chapter.autoencoder_loss(model, chapter.sa_batch([x])) for x in ([5, 6, 7, 8], [9, 10])]
    together = chapter.autoencoder_loss(model, chapter.sa_batch([[5, 6, 7, 8], [9, 10]]))
    torch.testing.assert_close(together, (4 * losses[0] + 2 * losses[1]) / 6)
    inputs, targets = chapter.sa_batch([[5, 6, 7, 8]])
    inputs[0, 1:5] = torch.tensor([8, 7, 6, 5])  # another text is read, the same is asked for
    assert chapter.autoencoder_loss(model, (inputs, targets)) != losses[0]


def test_texts_are_cut_where_the_budget_ends_and_a_lack_is_named():
    documents = iter([[1] * 4, [2] * 4, [3] * 4])
    assert chapter.take(documents, 6) == [[1] * 4, [2] * 2]
    assert chapter.take(documents, 4) == [[3] * 4]
    with pytest.raises(ValueError, match="lack 2 of 6 pieces"):
        chapter.take(iter([[1] * 4]), 6)


def test_an_unknown_objective_is_refused():
    with pytest.raises(ValueError, match="objective 'bert'"):
        chapter.pretraining_batches("bert", [[5] * 9], 0, batch_size=1, bptt=2, longest=3)


def test_the_rate_rises_is_held_and_falls():
    rates = [chapter.hold_then_decay(step, 1000) for step in range(1000)]
    assert rates[0] == 1 / 200 and rates[199] == rates[700] == 1.0
    assert rates[-1] == 0.02 and all(later <= rate for rate, later in pairwise(rates[750:]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dai_lm_film", "dai_sa_film"])
def test_training_anew_follows_the_shipped_curve(name):
    """The first 200 updates, from the corpus itself: what ships was made by this code."""
    _, card = models.checkpoint(name)
    try:
        documents = pretrain.documents_of(DAI[name].corpus, DAI[name].tested_on)
    except DataError as error:
        pytest.skip(f"a text about films cannot be had here: {error}")
    _, again = chapter.pretrain(documents, models.tokenizer("english_8k"), updates=200, **card["settings"])
    assert sum(again["losses"]) / 200 == pytest.approx(card["curve"][0], abs=0.05)
