"""The shortened last layer gives what the whole encoder gives, forward and backward."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from tlib.batching import pad
from tlib.encoding import FastDropout, KeptGradientEmbedding, first_token_states, use_fast_training

SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
}


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("lengths", [[5, 5], [9, 3, 1]], ids=["no padding", "padding"])
@pytest.mark.parametrize(
    "kind", [(BertModel, BertConfig, 0), (RobertaModel, RobertaConfig, 1)], ids=["bert", "roberta"]
)
def test_same_states_and_gradients_as_the_encoder(kind, lengths, implementation):
    model, config, pad_id = kind
    torch.manual_seed(0)
    encoder = model(config(**SIZES), add_pooling_layer=False).eval()
    encoder.set_attn_implementation(implementation)
    input_ids, mask = pad([torch.randint(2, 50, (n,)).tolist() for n in lengths], pad_id)

    def gradients(states):
        encoder.zero_grad()
        states.square().sum().backward()
        return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}

    theirs = encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state[:, 0]
    ours = first_token_states(encoder, input_ids, mask)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(ours), gradients(theirs), atol=1e-5, rtol=1e-4)


def test_dropout_acts_in_training():
    encoder = BertModel(BertConfig(**SIZES), add_pooling_layer=False).train()
    input_ids, mask = pad([[2, 3, 4]])
    assert not torch.equal(first_token_states(encoder, input_ids, mask), first_token_states(encoder, input_ids, mask))


def test_other_architectures_are_refused():
    encoder = DistilBertModel(DistilBertConfig(vocab_size=9, dim=8, n_layers=1, n_heads=2, hidden_dim=8))
    with pytest.raises(TypeError, match="not DistilBertModel: use the encoder's own forward"):
        first_token_states(encoder, *pad([[1, 2]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_fast_dropout_is_dropout(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(1001, 203, dtype=dtype, requires_grad=True)
    y = FastDropout(p)(x)
    y.sum().backward()
    kept = y != 0
    units = x.numel()
    deviation = (p * (1 - p) / units) ** 0.5
    assert abs(1 - kept.float().mean().item() - p) < 5 * deviation
    for shift in (1, 2, 3, 4, 203):  # one draw serves four units: they must not agree more than by chance
        flat = kept.flatten().float() - (1 - p)
        assert abs((flat[shift:] * flat[:-shift]).mean().item()) < 5 * p * (1 - p) / units**0.5
    assert torch.equal(x.grad, y.detach()), "the gradient passes where the unit did, as much scaled"
    torch.testing.assert_close(
        y[kept][0].float().item(), 1 / (1 - p), rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=0
    )


def test_fast_dropout_repeats_with_the_seed_and_rests_outside_training():
    dropout, x = FastDropout(0.3), torch.ones(7, 5)
    torch.manual_seed(1)
    first = dropout(x)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(x)) and not torch.equal(first, dropout(x))
    assert torch.equal(FastDropout(0.3).eval()(x), x)
    assert torch.equal(FastDropout(0.0)(x), x) and not FastDropout(1.0)(x).any()
    assert dropout(torch.ones(2, 3, device="meta")).device.type == "meta"


def test_every_plain_dropout_is_replaced_in_place():
    encoder = BertModel(BertConfig(**SIZES, hidden_dropout_prob=0.25)).eval()
    use_fast_training(encoder)
    kinds = {type(module) for module in encoder.modules() if isinstance(module, nn.Dropout)}
    assert kinds == {FastDropout}
    assert encoder.embeddings.dropout.p == 0.25 and not encoder.embeddings.dropout.training


def gradients_of(model, input_ids, mask):
    model.zero_grad()
    model(input_ids=input_ids, attention_mask=mask).last_hidden_state.square().sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_fast_training_changes_neither_states_nor_gradients(monkeypatch):
    monkeypatch.setattr("tlib.encoding.LARGE", 50)
    torch.manual_seed(0)
    model = BertModel(BertConfig(**SIZES, pad_token_id=0), add_pooling_layer=False).eval()
    model.set_attn_implementation("eager")
    input_ids, mask = pad([torch.randint(2, 50, (n,)).tolist() for n in (9, 3, 1)])
    states, gradients = model(input_ids, mask).last_hidden_state, gradients_of(model, input_ids, mask)
    use_fast_training(model)
    assert type(model.embeddings.word_embeddings) is KeptGradientEmbedding
    assert type(model.embeddings.position_embeddings) is nn.Embedding, "small ones gain nothing"
    torch.testing.assert_close(model(input_ids, mask).last_hidden_state, states)
    for _ in range(2):  # the second time in the buffer of the first
        torch.testing.assert_close(gradients_of(model, input_ids, mask), gradients, atol=1e-5, rtol=1e-4)


def test_attention_weights_are_dropped_in_training_only():
    config = BertConfig(**SIZES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    model = BertModel(config, add_pooling_layer=False)
    use_fast_training(model)
    input_ids, mask = pad([[2, 3, 4, 5]])
    first, second = (model.train()(input_ids, mask).last_hidden_state for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(*(model.eval()(input_ids, mask).last_hidden_state for _ in range(2)))


@pytest.mark.parametrize("padding_idx", [None, 0])
def test_the_kept_gradient_is_the_embeddings_own(padding_idx):
    torch.manual_seed(0)
    plain = nn.Embedding(20, 3, padding_idx=padding_idx)
    kept = KeptGradientEmbedding.of(plain)
    assert kept.weight is plain.weight
    weights = torch.randn(2, 4, 3)
    for ids in torch.randint(20, (3, 2, 4)):  # another batch each time: nothing of the last one is left
        ids[0, 0] = 0
        gradients = []
        for embedding in (plain, kept):
            plain.weight.grad = None
            (embedding(ids) * weights).sum().backward()
            gradients.append(plain.weight.grad.clone())
        torch.testing.assert_close(*gradients)
    buffer = plain.weight.grad
    (kept(ids) * weights).sum().backward()  # without zero_grad, gradients add up
    torch.testing.assert_close(plain.weight.grad, 2 * gradients[1])
    assert plain.weight.grad is buffer


def test_a_tied_weight_gets_both_gradients():
    embedding = nn.Embedding(6, 3)
    ids = torch.tensor([[1, 2]])

    def gradient(module):
        embedding.weight.grad = None
        (module(ids) @ embedding.weight.T).square().sum().backward()
        return embedding.weight.grad.clone()

    expected = gradient(embedding)
    torch.testing.assert_close(gradient(KeptGradientEmbedding.of(embedding)), expected)


def test_a_frozen_embedding_keeps_no_gradient():
    kept = KeptGradientEmbedding.of(nn.Embedding(6, 3)).requires_grad_(False)
    assert not kept(torch.tensor([1])).requires_grad and kept.buffer is None
