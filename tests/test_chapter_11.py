"""Adapters, from the notebook's cells: their place and count, what is frozen, the cache, parts that go in and out."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from tlib import pretrain

adapters = pretrain.definitions("11_adapters")
TINY = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 50}
TINY |= {"intermediate_size": 32, "max_position_embeddings": 40}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
EXAMPLES = [([2, 7 + i % 9, 9 + i % 5, *([11] * (i % 4)), 3], [i % 3]) for i in range(24)]


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return BertModel(BertConfig(**TINY, **NO_DROPOUT), add_pooling_layer=False).requires_grad_(False).eval()


def network_of(encoder, arm, of_words=False, seed=0):
    torch.manual_seed(seed)
    mine = copy.deepcopy(encoder)
    first = arm(mine)
    return adapters.Network(mine, 3, of_words, first)


ARMS = {
    "full": adapters.free_all,
    "adapters": partial(adapters.free_adapters, size=4),
    "norms": adapters.free_norms,
    "top": partial(adapters.free_top, num_layers=1),
    "head": partial(adapters.free_top, num_layers=0),
    "lora": partial(adapters.free_lora, rank=2),
}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 1000))
def test_an_adapter_has_the_papers_size_and_starts_near_the_identity(width, size, seed):
    torch.manual_seed(seed)
    adapter, h = adapters.Adapter(width, size, std=1e-4), torch.randn(7, width)
    assert sum(p.numel() for p in adapter.parameters()) == 2 * size * width + width + size
    torch.testing.assert_close(adapter(h), h, atol=1e-4, rtol=0)
    assert adapter.down.weight.abs().max() <= 2e-4


@pytest.mark.parametrize(("kind", "config"), [(BertModel, BertConfig), (RobertaModel, RobertaConfig)])
def test_injection_leaves_the_states_and_adds_two_adapters_a_layer(kind, config):
    model = kind(config(**TINY)).eval()
    ids = torch.randint(5, 50, (2, 9))
    before, whole = model(ids).last_hidden_state, sum(p.numel() for p in model.parameters())
    adapters.inject(model, 4, std=1e-4)
    torch.testing.assert_close(model(ids).last_hidden_state, before, atol=1e-4, rtol=0)
    assert len(adapters.adapters_of(model)) == 6
    assert sum(p.numel() for p in model.parameters()) - whole == 6 * (2 * 4 * 16 + 16 + 4)


@pytest.mark.parametrize("arm", ARMS)
def test_what_an_arm_freezes_stays_bit_for_bit(encoder, arm):
    network = network_of(encoder, ARMS[arm])
    cache = adapters.StateCache(encoder, {2, 3})
    before = {name: (p.detach().clone(), p.requires_grad) for name, p in network.named_parameters()}
    settings = {"lr": 1e-2, "head_lr": 1e-2, "updates": 3, "batch_size": 8, "seed": 0}
    adapters.train(network, EXAMPLES, **settings, cache=cache)
    for name, parameter in network.named_parameters():
        old, free = before[name]
        assert free or torch.equal(parameter, old), name
    assert any(not torch.equal(p, before[name][0]) for name, p in network.named_parameters())
    assert before["head.weight"][1]


def test_a_network_from_cached_states_says_what_the_whole_one_says(encoder):
    network = network_of(encoder, ARMS["top"], of_words=True)
    examples = [(ids, [0] * len(ids)) for ids, _ in EXAMPLES]
    cache = adapters.StateCache(encoder, {2, 3})
    inputs, mask, _ = adapters.as_batch(examples, network.first, cache)
    cached = network(inputs, mask)
    network.first = 0
    direct = network(adapters.as_batch(examples)[0], mask)
    torch.testing.assert_close(cached[mask.bool()], direct[mask.bool()], atol=5e-2, rtol=5e-2)  # bf16 in the cache


def test_the_cache_computes_each_text_once(encoder, monkeypatch):
    cache, seen = adapters.StateCache(encoder, {1, 3}), []
    real = encoder.embeddings.forward
    monkeypatch.setattr(encoder.embeddings, "forward", lambda **words: seen.append(words) or real(**words))
    texts = [tuple(ids) for ids, _ in EXAMPLES]
    first = cache.states(texts, 3)
    calls = len(seen)
    again = cache.states(texts, 3)
    assert calls > 0 and len(seen) == calls and all(map(torch.equal, first, again))
    assert [len(states) for states in cache.states(texts, 1)] == [len(text) for text in texts]


def test_padding_changes_nothing(encoder):
    network = network_of(encoder, ARMS["adapters"])
    ids, mask = torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    more = torch.nn.functional.pad
    torch.testing.assert_close(network(more(ids, (0, 3), value=8), more(mask, (0, 3))), network(ids, mask))


def test_a_part_goes_from_one_network_into_another_and_nothing_else_does(encoder):
    first, second = (network_of(encoder, ARMS["adapters"], seed=seed) for seed in (1, 2))
    adapters.train(first, EXAMPLES, lr=1e-2, head_lr=1e-2, updates=2, batch_size=8, seed=0)
    ids, mask, _ = adapters.as_batch(EXAMPLES)
    assert not torch.equal(first(ids, mask), second.eval()(ids, mask))
    adapters.plug_in(second, adapters.own_part(first))
    assert torch.equal(first(ids, mask), second(ids, mask))
    with pytest.raises(ValueError, match="in the task's part or in the network, not in both"):
        adapters.plug_in(network_of(encoder, ARMS["norms"]), adapters.own_part(first))


def test_removal_is_undone_and_of_all_layers_leaves_the_bare_network(encoder):
    network = network_of(encoder, partial(adapters.free_adapters, size=4, std=0.5)).eval()
    bare = network_of(encoder, ARMS["norms"])
    own = adapters.own_part(network)
    adapters.plug_in(bare, {name: tensor for name, tensor in own.items() if "dropout" not in name})
    ids, mask, _ = adapters.as_batch(EXAMPLES)
    whole = network(ids, mask)
    with adapters.without(network, range(0)):
        assert torch.equal(network(ids, mask), whole)
    with pytest.raises(KeyError), adapters.without(network, range(3)):
        torch.testing.assert_close(network(ids, mask), bare(ids, mask))
        raise KeyError
    assert torch.equal(network(ids, mask), whole)


def test_lora_merges_into_one_matrix():
    lora = adapters.LoRA(torch.nn.Linear(8, 6), 3)
    x = torch.randn(5, 8)
    assert torch.equal(lora(x), lora.linear(x))
    torch.nn.init.normal_(lora.b.weight)
    torch.testing.assert_close(lora.merged()(x), lora(x))


def test_lora_is_that_of_peft():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = BertConfig(**TINY, **NO_DROPOUT)
    ours, base = (BertModel(config, add_pooling_layer=False).eval() for _ in range(2))
    base.load_state_dict(ours.state_dict())
    settings = {"r": 3, "lora_alpha": 6, "target_modules": ["query", "value"], "init_lora_weights": False}
    theirs = get_peft_model(base, LoraConfig(**settings)).eval()
    ours.requires_grad_(False)
    adapters.free_lora(ours, rank=3)
    trained = {name: p for name, p in ours.named_parameters() if p.requires_grad}
    named = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == sum(p.numel() for p in named.values())
    with torch.no_grad():
        for name, parameter in trained.items():
            module, part, _ = name.rsplit(".", 2)  # ..., a or b, weight
            parameter.copy_(named[f"base_model.model.{module}.lora_{part.upper()}.default.weight"])
    ids = torch.randint(5, 50, (2, 9))
    torch.testing.assert_close(ours(ids).last_hidden_state, theirs(ids).last_hidden_state, atol=1e-5, rtol=0)


def test_predictions_come_in_the_examples_order(encoder):
    network = network_of(encoder, ARMS["head"], of_words=True)
    network.first = 0
    examples = [(ids, [0, *[adapters.IGNORE] * (len(ids) - 2), 0]) for ids, _ in EXAMPLES]
    together = adapters.predict(network, examples)
    alone = [adapters.predict(network, [example]) for example in examples]
    assert together.tolist() == [label for row in alone for label in row.tolist()]
