"""The shortened last layer gives what the whole encoder gives, forward and backward."""

import pytest
import torch
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from tlib.batching import pad
from tlib.encoding import first_token_states

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
