"""Pretraining: recipes, the run that writes a checkpoint and its card, and the checkpoints that ship."""

import math
import random
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import pytest
import torch

from tlib import cli, data, models, paths, pretrain, store
from tlib.language_model import NextTokenLoss
from tlib.pretrain import PretrainError
from tlib.recipes import GENERAL, RECIPES, TARGET, ChapterRecipe, LanguageModelRecipe, TargetRecipe

SHIPPED = sorted(path.stem for path in models.CHECKPOINTS.glob("*.safetensors"))
ON_EVERY_CARD = {"name", "parameters", "chapter", "architecture", "corpora", "settings", "updates"}
ON_EVERY_CARD |= {"tokens_seen", "overlap", "valid_loss", "hours", "hardware", "curve", "curve_every", "tokenizer"}
ON_EVERY_CARD |= {"sha256"}
OF_A_TARGET = {"base", "valid_loss_before", "direction"}
MOST_BYTES = 40_000_000


def test_every_recipe_ships_and_all_that_ships_has_a_recipe():
    assert sorted(RECIPES) == SHIPPED


def test_what_ships_is_small_enough_to_install():
    files = [path for path in models.CHECKPOINTS.iterdir() if path.suffix != ".lock"]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_is_complete_and_true_of_its_weights(name):
    weights, card = models.checkpoint(name)  # which holds the weights to the card's SHA-256
    assert ON_EVERY_CARD | (OF_A_TARGET if name in TARGET else set()) <= card.keys()
    assert card["name"] == name and card["hours"] > 0
    assert card["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert all(tensor.isfinite().all() for tensor in weights.values())
    pieces = models.CHECKPOINTS / f"{card['tokenizer']['name']}.json"
    assert card["tokenizer"]["sha256"] == store.sha256(pieces)
    own = card.get("vocabulary")  # of words, where a model does not name word pieces
    if "encoder" in card:  # a head has the pieces of the encoder that it sits on
        known = models.encoder(card["encoder"], "laptop")[1].vocab_size
    else:
        known = len(own) if own else models.tokenizer(card["tokenizer"]["name"]).get_vocab_size()
    assert known == card["architecture"]["vocab_size"]
    assert card["curve_every"] == pretrain.CURVE_EVERY
    assert len(card["curve"]) == math.ceil(card["updates"] / card["curve_every"])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_names_the_corpora_and_no_test_text_is_in_them(name):
    _, card = models.checkpoint(name)
    recipe = RECIPES[name]
    corpora = [recipe.dataset] if name in TARGET else pretrain.sources(getattr(recipe, "corpus", "general_english"))
    assert card["corpora"] == data.hashes(corpora)
    assert card["overlap"] == dict.fromkeys(getattr(recipe, "tested_on", pretrain.TESTED_ON), 0.0)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_is_of_the_recipe_as_it_stands(name):
    _, card = models.checkpoint(name)
    recipe = RECIPES[name]
    if isinstance(recipe, ChapterRecipe):
        assert (card["chapter"], card["settings"]) == (recipe.chapter, recipe.settings)
        return
    assert card["settings"] == {key: getattr(recipe, key) for key in card["settings"]}
    if name in GENERAL:
        assert (card["chapter"], card["direction"]) == (recipe.chapter, recipe.direction)
        assert (card["architecture"], card["updates"]) == (recipe.architecture, recipe.updates)
        assert card["tokens_seen"] == recipe.updates * recipe.batch_size * recipe.bptt
        assert card["valid_loss"] < card["curve"][0]
    else:
        _, base = models.checkpoint(recipe.base)
        assert card["base"] == {"name": recipe.base, "sha256": base["sha256"]}, "the base was trained anew since"
        assert (card["direction"], card["architecture"]) == (base["direction"], base["architecture"])
        assert card["valid_loss"] < card["valid_loss_before"]


@pytest.mark.parametrize("name", [*GENERAL, *TARGET])
def test_the_chapters_network_takes_the_weights(name):
    weights, card = models.checkpoint(name)
    model = pretrain.definitions(card["chapter"]).new_language_model(card["architecture"], 0.0)
    model.load_state_dict(weights, strict=True)


def test_the_rate_rises_is_held_and_falls():
    recipe = replace(RECIPES["ulmfit_lm_forward"], updates=1000, warmup=100, decay=0.25)
    rates = [recipe.multiplier(step) for step in range(recipe.updates)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[:100] == sorted(rates[:100]) and rates[99:751] == [1.0] * 652
    assert rates[750:] == sorted(rates[750:], reverse=True) and rates[875] == pytest.approx(0.51)
    assert 0.02 < rates[-1] < 0.021, "it ends at a fiftieth: the last updates still count"


def write_notebook(root, *cells):
    """A notebook called 01_toy, of `(source, tags)`, in a folder that passes for a checkout."""
    (root / "notebooks").mkdir()
    code = [nbformat.v4.new_code_cell(source, metadata={"tags": tags}) for source, tags in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=code), root / "notebooks" / "01_toy.ipynb")


def test_definitions_are_those_of_the_tagged_cells_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    write_notebook(tmp_path, ("one = 1", ["define"]), ("raise ValueError", []), ("two = one + 1", ["define", "x"]))
    found = pretrain.definitions("01_toy")
    assert (found.one, found.two) == (1, 2)


def test_definitions_of_the_chapter_make_its_language_model():
    found = pretrain.definitions("03_ulmfit")
    model = found.LanguageModel(found.AWDLSTM(50, 4, 8, 2, dict.fromkeys(found.PAPER_DROPOUT, 0.0)), 0.0)
    ids = torch.arange(6).reshape(2, 3)
    assert NextTokenLoss()(model, (ids, ids)).item() == pytest.approx(math.log(50), abs=0.5)


@pytest.mark.parametrize("checkout", [True, False])
def test_definitions_need_a_checkout_with_the_notebook(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "root", lambda: tmp_path if checkout else None)
    with pytest.raises(PretrainError, match=r"notebooks/01_toy\.ipynb: call it in a checkout"):
        pretrain.definitions("01_toy")


class BosOnly:
    """A tokenizer of which `directed` asks one thing."""

    def token_to_id(self, token):
        return {"[BOS]": 2}[token]


def test_backward_documents_are_reversed_behind_their_bos():
    documents = [[5, 6, 7], [8]]
    assert pretrain.directed(documents, BosOnly(), "forward") == [[2, 5, 6, 7], [2, 8]]
    assert pretrain.directed(documents, BosOnly(), "backward") == [[2, 7, 6, 5], [2, 8]]
    with pytest.raises(KeyError, match="sideways"):
        pretrain.directed(documents, BosOnly(), "sideways")


def test_the_curve_has_a_point_for_each_200_updates():
    assert pretrain.curve([1.0] * 200 + [2.0] * 100 + [4.0] * 100 + [5.0]) == [1.0, 3.0, 5.0]


def test_an_unknown_recipe_is_named_with_those_there_are():
    with pytest.raises(PretrainError, match=r"'ulmfit'; there are ulmfit_lm_forward, "):
        pretrain.run("ulmfit")


def test_the_command_explains_an_unknown_recipe(monkeypatch):
    monkeypatch.setattr("sys.argv", ["tlib", "pretrain", "ulmfit"])
    with pytest.raises(SystemExit, match="^tlib: no recipe is called 'ulmfit'"):
        cli.main()


TINY = LanguageModelRecipe(
    chapter="03_ulmfit",
    direction="backward",
    architecture={"vocab_size": 300, "embedding_dim": 8, "hidden_size": 12, "num_layers": 2},
    dropout={"embedding": 0.0, "weight": 0.1, "input": 0.0, "hidden": 0.0},
    output_dropout=0.0,
    updates=30,
    batch_size=4,
    bptt=8,
    lr=0.02,
    warmup=5,
)
OWN = ChapterRecipe(chapter="01_toy", function="count", corpus="both", settings={"each": 3}, tested_on=("bbc_news",))
TINY_TARGET = TargetRecipe(base="tiny", dataset="bbc_news", epochs=2, batch_size=2, bptt=8)
WORDS = [
    "a",
    "the",
    "ship",
    "sailed",
    "north",
    "until",
    "winter",
    "came",
    "and",
    "every",
    "harbour",
    "was",
    "closed",
    "by",
    "ice",
    "or",
    "war",
]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Recipes and corpora that train in a second, in folders of their own; gives the folder of the checkpoints."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=40)) for _ in range(120)]
    splits = {"train": {"text": texts[:80]}, "dev": {"text": texts[80:100]}, "test": {"text": texts[100:]}}
    corpora = SimpleNamespace(load=lambda name: splits, hashes=lambda names: dict.fromkeys(names, "00"))
    monkeypatch.setattr(
        pretrain, "data", SimpleNamespace(**vars(corpora), overlap=data.overlap, without_overlap=data.without_overlap)
    )
    monkeypatch.setattr(
        pretrain, "CORPORA", {"general_english": {"letters": 2}, "both": {"letters": 1, "letters/dev": 1}}
    )
    monkeypatch.setattr(pretrain, "RECIPES", {"tiny": TINY, "tiny_target": TINY_TARGET, "own": OWN})
    monkeypatch.setattr(pretrain, "HELD_OUT", 10)
    monkeypatch.setenv("TLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "CHECKPOINTS", tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def test_a_run_writes_weights_and_card_and_the_next_builds_on_them(tiny):
    assert pretrain.run("tiny") == tiny / "tiny.safetensors"
    weights, card = models.checkpoint("tiny")
    assert card.keys() >= ON_EVERY_CARD and card["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert card["corpora"] == {"letters": "00"} and card["overlap"] == {"bbc_news": 0.0}
    assert len(card["curve"]) == 1 and card["valid_loss"] < math.log(len(WORDS)) + 0.5, "it learned which words occur"
    assert models.tokenizer("english_8k").encode("The harbour").tokens == ["the", "harbour"]

    pretrain.run("tiny_target")
    tuned, target_card = models.checkpoint("tiny_target")
    assert target_card.keys() >= ON_EVERY_CARD | OF_A_TARGET
    assert target_card["base"] == {"name": "tiny", "sha256": card["sha256"]}
    assert target_card["direction"] == "backward" and target_card["tokens_seen"] == 2 * 80 * 41
    assert not torch.equal(tuned["bias"], weights["bias"])


def test_a_run_that_was_complete_ships_the_same_weights_again(tiny):
    first = pretrain.run("tiny").read_bytes()
    (tiny / "tiny.safetensors").unlink()
    assert pretrain.run("tiny").read_bytes() == first


def test_a_run_to_another_folder_takes_the_shipped_tokenizer_and_its_own_base(tiny, tmp_path):
    pretrain.run("tiny")
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(FileNotFoundError, match="'tiny'; shipped: none. `tlib pretrain tiny`"):
        pretrain.run("tiny_target", out=elsewhere)
    pretrain.run("tiny", out=elsewhere)
    pretrain.run("tiny_target", out=elsewhere)
    assert (elsewhere / "english_8k.json").read_bytes() == (tiny / "english_8k.json").read_bytes()
    assert not (tiny / "tiny_target.safetensors").exists()


def test_a_state_of_other_settings_is_refused_with_its_remedy(tiny, monkeypatch):
    pretrain.run("tiny")
    monkeypatch.setitem(pretrain.RECIPES, "tiny", replace(TINY, updates=31))
    with pytest.raises(PretrainError, match="belongs to another run, with other .*delete the file to start over"):
        pretrain.run("tiny")


def test_documents_of_general_english_join_short_rows(tiny):
    documents = pretrain.documents_of("general_english")
    assert len(documents) == 40 and all(document.count("\n") == 1 for document in documents)
    assert documents == pretrain.documents_of("general_english"), "their order is the same each time"
    assert len(pretrain.documents_of("both")) == 100 and pretrain.sources("both") == ["letters"]


def test_test_text_in_a_corpus_shows_on_the_card(tiny):
    leaked = pretrain.data.load("bbc_news")["test"]["text"][:5]
    assert pretrain.overlaps(leaked, ["bbc_news"]) == {"bbc_news": 0.25}


def test_documents_that_hold_test_text_are_left_out(tiny):
    everything, leaked = pretrain.documents_of("both"), pretrain.data.load("bbc_news")["test"]["text"][0]
    pretrain.data.load("letters")["train"]["text"][7] += " " + leaked
    assert len(pretrain.documents_of("both")) == len(everything)
    assert len(pretrain.documents_of("both", ["bbc_news"])) == len(everything) - 1


def test_a_chapters_own_function_is_given_its_corpus_and_its_card_completed(tiny, tmp_path, monkeypatch):
    source = """
import torch
def count(documents, tokenizer, checkpoint, each):
    size = tokenizer.get_vocab_size()
    return {"w": torch.ones(len(documents), each)}, {
        "architecture": {"vocab_size": size}, "updates": 400, "tokens_seen": 1, "valid_loss": 0.5,
        "losses": [1.0] * 200 + [3.0] * 200, "seconds": 36.0,
    }
"""
    write_notebook(tmp_path, (source, ["define"]))
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    pretrain.run("own")
    weights, card = models.checkpoint("own")
    assert weights["w"].shape == (100, 3) and card.keys() >= ON_EVERY_CARD
    assert (card["curve"], card["hours"], card["overlap"]) == ([1.0, 3.0], 0.01, {"bbc_news": 0.0})
    assert card["chapter"] == "01_toy" and card["settings"] == {"each": 3} and "losses" not in card


def test_a_text_too_short_for_the_updates_is_read_again(tiny):
    tokenizer = pretrain._tokenizer(tiny)
    encoded = pretrain.encode(tokenizer, pretrain.documents_of("general_english"))
    history, _ = pretrain.train_language_model(TINY, encoded[:14], tokenizer, updates=25)
    assert len(history.losses) == 25


@pytest.mark.slow
@pytest.mark.network
def test_training_anew_follows_the_shipped_curve():
    """The first 200 updates and the loss at the end, from the corpora: what ships was made by this code."""
    name = "ulmfit_lm_forward"
    try:
        documents = pretrain.documents_of("general_english")
    except data.DataError as error:
        pytest.skip(f"a corpus of general English cannot be had here: {error}")
    weights, card = models.checkpoint(name)
    tokenizer = models.tokenizer(card["tokenizer"]["name"])
    encoded = pretrain.encode(tokenizer, documents)
    shipped = pretrain.definitions(card["chapter"]).new_language_model(card["architecture"], 0.0)
    shipped.load_state_dict(weights)
    held_out = pretrain.directed(encoded[: pretrain.HELD_OUT], tokenizer, card["direction"])
    assert pretrain.validation_loss(shipped, held_out) == pytest.approx(card["valid_loss"], abs=0.01)
    history, _ = pretrain.train_language_model(RECIPES[name], encoded, tokenizer, updates=card["curve_every"])
    assert sum(history.losses) / len(history.losses) == pytest.approx(card["curve"][0], abs=0.05)
