"""The stream and the windowed loss of the recurrent language models."""

import math

import pytest
import torch
from torch import nn

from tlib.language_model import NextTokenLoss, as_stream


class Tiny(nn.Module):
    """One LSTM layer over 11 tokens."""

    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.out = nn.Embedding(11, 5), nn.LSTM(5, 7, batch_first=True), nn.Linear(7, 11)

    def initial_state(self, batch_size):
        return [(torch.zeros(1, batch_size, 7), torch.zeros(1, batch_size, 7))]

    def forward(self, ids, state):
        hidden, last = self.lstm(self.embedding(ids), state[0])
        return self.out(hidden), [last]


def test_a_stream_has_every_document_whole_and_its_order_depends_on_the_seed():
    documents = [[1, 2, 3], [4], [5, 6]]
    stream = as_stream(documents, 0).tolist()
    assert sorted(stream) == [1, 2, 3, 4, 5, 6] and "123" in "".join(map(str, stream))
    assert as_stream(documents, 0).tolist() == stream
    assert len({tuple(as_stream(documents, seed).tolist()) for seed in range(20)}) > 1


@pytest.mark.parametrize("documents", [[], [[], []]])
def test_a_stream_needs_text(documents):
    with pytest.raises(ValueError, match=f"{len(documents)} documents without a token"):
        as_stream(documents, 0)


def test_windows_give_the_loss_of_the_text_read_whole():
    torch.manual_seed(0)
    model, ids = Tiny(), torch.randint(11, (2, 21))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    whole = NextTokenLoss()(model, (inputs, targets))
    loss = NextTokenLoss()
    parts = [loss(model, (inputs[:, i : i + 10], targets[:, i : i + 10])) for i in (0, 10)]
    torch.testing.assert_close(sum(parts) / 2, whole)
    assert not loss.state[0][0].requires_grad, "no gradient crosses the border of windows"
    assert whole.item() == pytest.approx(math.log(11), abs=0.3)


def test_the_state_is_kept_and_put_back():
    model, ids = Tiny(), torch.randint(11, (2, 10))
    loss, again = NextTokenLoss(), NextTokenLoss()
    assert loss.state_dict() == {}
    loss(model, (ids, ids))
    again.load_state_dict(loss.state_dict())
    torch.testing.assert_close(loss(model, (ids, ids)), again(model, (ids, ids)), rtol=0, atol=0)
    again.load_state_dict({})
    assert again.state is None
