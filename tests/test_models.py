"""Encoders, their twins and shipped checkpoints. The encoder's files come from the cache, or are fetched once."""

import hashlib
import json
import subprocess
import sys

import pytest
import torch

from tlib import data, models


@pytest.fixture(scope="module")
def minilm():
    return models.encoder("minilm", profile="laptop")


def embed(model, tokenizer, sentences: list[str]) -> torch.Tensor:
    """Unit-length mean of the hidden states, [sentence, width]."""
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


@pytest.mark.network
def test_the_encoder_knows_which_sentences_are_alike(minilm):
    vectors = embed(*minilm, ["A man is eating food.", "Someone has a meal.", "Shares fell sharply in London."])
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.6 and alike[0, 2] < 0.2 and alike[1, 2] < 0.2


@pytest.mark.network
def test_the_encoder_is_what_the_catalogue_says(minilm):
    model, tokenizer = minilm
    assert not model.training
    assert (model.config.num_hidden_layers, model.config.hidden_size, len(tokenizer)) == (6, 384, 30522)
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_713_216


@pytest.mark.network
def test_the_encoder_loads_with_transformers_from_its_folder_without_network():
    folder = data.fetch_dir("minilm")
    code = f"from transformers import AutoModel, AutoTokenizer as T\nAutoModel.from_pretrained({str(folder)!r})\n"
    code += f"print(T.from_pretrained({str(folder)!r})('Hello there')['input_ids'])"
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "", "HOME": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[101, 7592, 2045, 102]", done.stderr


@pytest.mark.network
def test_a_twin_has_the_shapes_but_not_the_weights(minilm):
    model, _ = minilm
    twin = models.twin(model.config, seed=0)
    weights, random = model.state_dict(), twin.state_dict()
    assert {name: tensor.shape for name, tensor in weights.items()} == {name: t.shape for name, t in random.items()}
    matrices = [name for name, tensor in weights.items() if tensor.dim() == 2]
    assert not any(torch.equal(weights[name], random[name]) for name in matrices)


def small_config():
    from transformers import BertConfig

    return BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)


def test_a_twin_depends_on_its_seed_only():
    config = small_config()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = models.twin(config, seed=0)
    assert torch.equal(before, torch.get_rng_state()), "the caller's random state is untouched"
    torch.manual_seed(2)
    again, another = models.twin(config, seed=0), models.twin(config, seed=1)
    weight = "embeddings.word_embeddings.weight"
    assert torch.equal(first.state_dict()[weight], again.state_dict()[weight])
    assert not torch.equal(first.state_dict()[weight], another.state_dict()[weight])
    assert not first.training


def test_an_unknown_encoder_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="'bort'; there are minilm"):
        models.encoder("bort")


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2, dtype=torch.float16)}, tmp_path / "toy.safetensors")
    digest = hashlib.sha256((tmp_path / "toy.safetensors").read_bytes()).hexdigest()
    (tmp_path / "toy.json").write_text(json.dumps({"sha256": digest, "tokens": 10}))
    monkeypatch.setattr(models, "CHECKPOINTS", tmp_path)
    return tmp_path


def test_a_checkpoint_comes_with_its_card(shipped):
    weights, card = models.checkpoint("toy")
    assert torch.equal(weights["weight"], torch.ones(2)) and card["tokens"] == 10


def test_packed_weights_are_a_quarter_of_the_size_and_nearly_the_same():
    torch.manual_seed(0)
    weights = {"matrix": torch.randn(2, 50, 64), "bias": torch.randn(64), "narrow": torch.randn(9, 4)}
    weights["matrix"][0, 3] = 0.0  # a row without a scale of its own
    weights["matrix"][1, 7] *= 1000  # one row's size is nothing to the others
    packed = models.pack(weights)
    assert packed["matrix"].dtype == torch.int8 and packed["bias"].dtype == packed["narrow"].dtype == torch.float16
    found = models.unpack(packed)
    assert found.keys() == weights.keys() and all(tensor.dtype == torch.float32 for tensor in found.values())
    step = weights["matrix"].abs().amax(dim=-1, keepdim=True) / 127
    assert ((found["matrix"] - weights["matrix"]).abs() <= 0.51 * step).all()
    assert (found["matrix"][0, 3] == 0).all()
    torch.testing.assert_close(found["bias"], weights["bias"], rtol=1e-3, atol=1e-4)
    again = models.unpack(models.pack(found))
    torch.testing.assert_close(again["matrix"], found["matrix"])


def test_a_checkpoint_that_is_not_its_cards_is_refused(shipped):
    content = bytearray((shipped / "toy.safetensors").read_bytes())
    content[-1] ^= 1
    (shipped / "toy.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="its card says"):
        models.checkpoint("toy")


def test_a_missing_checkpoint_is_named_with_those_there_are(shipped):
    with pytest.raises(FileNotFoundError, match="'tiy'; shipped: toy. `tlib pretrain tiy`"):
        models.checkpoint("tiy")


def test_a_checkpoint_may_lie_in_another_folder(shipped, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(FileNotFoundError, match="'toy'; shipped: none"):
        models.checkpoint("toy", elsewhere)
    for name in ("toy.safetensors", "toy.json"):
        (shipped / name).rename(elsewhere / name)
    assert models.checkpoint("toy", elsewhere)[1]["tokens"] == 10


def test_the_shipped_tokenizer_cuts_uncased_word_pieces():
    tokenizer = models.tokenizer("english_8k")
    assert tokenizer.get_vocab_size() == 8000
    assert [tokenizer.token_to_id(token) for token in ("[PAD]", "[UNK]", "[BOS]", "[EOS]")] == [0, 1, 2, 3]
    encoded = tokenizer.encode("The President, the unforgivable 2024 budget")
    assert encoded.tokens[:3] == ["the", "president", ","] and "[UNK]" not in encoded.tokens
    assert any(token.startswith("##") for token in encoded.tokens), "a rare word is several pieces"
    assert tokenizer.decode(encoded.ids) == "the president, the unforgivable 2024 budget"


def test_a_missing_tokenizer_is_named():
    with pytest.raises(FileNotFoundError, match="'english_9k': a checkpoint's card names its own"):
        models.tokenizer("english_9k")
