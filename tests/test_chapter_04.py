"""BERT, from the notebook's cells that pretraining runs: its masks, its pairs, its names, and its speed."""

import math
import random
import statistics
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer
from transformers import BertConfig, BertForPreTraining, BertModel

from tlib import models, pretrain, training

bert = pretrain.definitions("04_bert")
TINY = {"vocab_size": 8000, "hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 32}
TINY |= {"max_length": 32}
SHIPPED = ["bert_small", "bert_arm_mlm_nsp", "bert_arm_mlm", "bert_arm_ltr", "bert_arm_ltr_short"]
WORDS = ["the", "ship", "sailed", "north", "until", "winter", "came", "and", "every", "harbour", "was", "closed"]


@pytest.fixture(scope="module")
def tokenizer():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = Tokenizer(WordPiece(unk_token="[UNK]"))
    pieces.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    pieces.train_from_iterator([" ".join(WORDS) + "."], trainer)
    return pieces


@pytest.fixture(scope="module")
def documents():
    rng = random.Random(0)
    return [" ".join(" ".join(rng.choices(WORDS, k=9)) + "." for _ in range(12)) for _ in range(12)]


def assert_transformers_takes(weights, architecture):
    """All weights fit the library's class of the same sizes, and only the tied copies are missing."""
    theirs = {"num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}
    theirs |= {"max_length": "max_position_embeddings"}
    config = BertConfig(**{theirs.get(name, name): size for name, size in architecture.items()})
    missing, unexpected = BertForPreTraining(config).load_state_dict(weights, strict=False)
    assert not unexpected and all("decoder" in name for name in missing)


def rows_of_ids(lengths):
    rng = random.Random(0)
    rows = [[2, *(rng.randrange(5, 8000) for _ in range(length)), 3] for length in lengths]
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 2**31 - 1))
def test_masks_hide_the_right_number_of_words_and_nothing_else(lengths, seed):
    ids = rows_of_ids(lengths)
    corrupted, labels = bert.mask_tokens(ids, bert.OURS, 10, torch.Generator().manual_seed(seed))
    chosen = labels != bert.IGNORE
    assert chosen.sum(dim=1).tolist() == [min(10, max(1, round(0.15 * (length + 2)))) for length in lengths]
    assert torch.equal(labels[chosen], ids[chosen]) and torch.equal(corrupted[~chosen], ids[~chosen])
    assert not torch.isin(ids[chosen], torch.tensor([0, 2, 3])).any()
    assert ((corrupted[chosen] == bert.OURS.mask) | (corrupted[chosen] >= bert.OURS.first_word)).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([16, 32, 64]))
def test_pairs_fit_follow_and_cover_their_documents(tokenizer, documents, seed, max_length):
    corpus = bert.Corpus(documents, tokenizer)
    rows = bert.make_pairs(corpus, max_length, seed)
    ends = [(corpus.starts[first], corpus.starts[last]) for first, last in corpus.documents]
    seen = set()
    for a_start, a_end, b_start, b_end, is_random in rows.tolist():
        owners = [next(i for i, (s, e) in enumerate(ends) if s <= x < e) for x in (a_start, b_start)]
        assert a_start < a_end and b_start < b_end and a_end - a_start + b_end - b_start <= max_length - 3
        assert (owners[0] != owners[1]) == bool(is_random) and (is_random or a_end <= b_start)
        seen.add(owners[0])
    assert len(seen) == len(documents)


def test_the_three_objectives_read_the_same_rows_and_ask_different_questions(tokenizer, documents):
    corpus = bert.Corpus(documents, tokenizer)
    shape = {"batch_size": 4, "max_length": 32, "updates": 30, "seed": 0}
    batches = {o: bert.PretrainingBatches(corpus, bert.OURS, o, **shape) for o in ("mlm+nsp", "mlm", "ltr")}
    for update in (0, 29, 3):
        parts = {objective: of[update] for objective, of in batches.items()}
        assert all(torch.equal(a, b) for a, b in zip(parts["mlm"], parts["mlm+nsp"], strict=True))
        hidden = parts["mlm"][3] != bert.IGNORE
        assert torch.equal(torch.where(hidden, parts["mlm"][3], parts["mlm"][0]), parts["ltr"][0])
        ids, mask, labels = parts["ltr"][0], parts["ltr"][1], parts["ltr"][3]
        assert torch.equal(labels[:, :-1][mask[:, 1:] == 1], ids[:, 1:][mask[:, 1:] == 1])
        assert int((labels != bert.IGNORE).sum()) == int(mask.sum()) - len(ids)
    with pytest.raises(ValueError, match="objective 'clm': use"):
        bert.PretrainingBatches(corpus, bert.OURS, "clm", **shape)


@pytest.mark.parametrize("objective", ["mlm+nsp", "mlm", "ltr"])
def test_pretraining_lowers_the_loss_and_its_weights_fit_transformers(objective, tokenizer, documents, tmp_path):
    made = {"architecture": TINY, "objective": objective, "batch_size": 8, "lr": 5e-3, "warmup": 0.1, "held_out": 2}
    weights, card = bert.pretrain_bert(documents, tokenizer, tmp_path / "state", **made, updates=40, seed=0)
    assert card["losses"][0] > math.log(8000) - 0.5 and sum(card["losses"][-5:]) / 5 < card["losses"][0] - 0.5
    assert len(card["losses"]) == card["updates"] == 40 and card["predictions"] < card["tokens_seen"]
    assert ("valid_nsp_accuracy" in card) == (objective == "mlm+nsp")
    assert_transformers_takes(weights, TINY)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_network_takes_what_ships_and_so_does_transformers(name):
    weights, card = models.checkpoint(name)
    ours = bert.BertForPretraining(bert.Bert(**card["architecture"], causal="ltr" in name))
    bert.load_weights(ours, weights)
    assert_transformers_takes(weights, card["architecture"])
    assert card["valid_loss"] < card["valid_loss_before"] - 2


def test_the_three_arms_differ_in_the_objective_alone():
    cards = {objective: models.checkpoint(f"bert_arm_{objective}")[1] for objective in ("mlm", "mlm_nsp", "ltr")}
    assert len({(card["updates"], card["tokens_seen"], card["parameters"]) for card in cards.values()}) == 1
    shared = [{k: v for k, v in card["settings"].items() if k != "objective"} for card in cards.values()]
    assert shared[0] == shared[1] == shared[2]
    assert cards["ltr"]["predictions"] > 5 * cards["mlm"]["predictions"] == 5 * cards["mlm_nsp"]["predictions"]


def test_the_head_sits_on_minilm():
    weights, card = models.checkpoint("minilm_mlm_head")
    assert card["encoder"] == "minilm" and all(name.startswith("cls.predictions.") for name in weights)
    head = bert.MLMHead(card["architecture"]["hidden_size"], card["architecture"]["vocab_size"])
    head.load_state_dict({name: weights[bert.to_their_name(f"mlm.{name}")] for name in head.state_dict()})
    assert card["valid_loss"] < card["valid_loss_before"] - 2


@pytest.mark.benchmark
@pytest.mark.parametrize("shape", [(128, 2, 4, 16, 64), (192, 4, 6, 32, 64), (384, 6, 12, 16, 32)])
def test_training_is_as_fast_as_in_transformers(shape):
    """At least 0.9 of BertModel's tokens per second, in the arithmetic that training uses, taking turns."""
    hidden, layers, heads, rows, length = shape
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "vocab_size": 8000}
    config = BertConfig(**sizes, intermediate_size=4 * hidden, max_position_embeddings=64)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    theirs, ours = BertModel(config).train(), bert.Bert(8000, hidden, layers, heads, 4 * hidden, 64, 0.0).train()
    ids = torch.randint(5, 8000, (rows, length))
    mask, segments = torch.ones_like(ids), torch.zeros_like(ids)
    mask[0, -5:] = 0
    spent = {"ours": [], "theirs": []}
    for _ in range(8):
        for name in spent:
            start = time.process_time()
            with training.autocast(ids.device):
                if name == "ours":
                    last = ours(ids, mask, segments)[-1]
                else:
                    last = theirs(ids, attention_mask=mask, token_type_ids=segments).last_hidden_state
            last.float().square().mean().backward()
            spent[name].append(time.process_time() - start)
    ratio = statistics.median(spent["theirs"][1:]) / statistics.median(spent["ours"][1:])
    print(f"{shape}: {ratio:.2f} of the library's throughput")
    assert ratio > 0.9
