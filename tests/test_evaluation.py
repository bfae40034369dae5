"""Metrics against scikit-learn and by hand; predictions in the items' order."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from torch import nn

from tlib.batching import length_buckets
from tlib.evaluation import correct, macro_f1, perplexity, predict_logits


def test_predictions_come_back_in_the_items_order_and_leave_the_model_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    items = torch.randn(17, 3)
    buckets = length_buckets([int(row[0] > 0) + 1 for row in items], 4)
    order = [item for bucket in buckets for item in bucket]
    model.train()
    logits = predict_logits(model, [items[bucket] for bucket in buckets], order=order, precision="fp32")
    assert model.training
    torch.testing.assert_close(logits, model[0](items).detach())
    assert not logits.requires_grad and logits.dtype == torch.float32

    lower = predict_logits(model, [{"x": items}], lambda m, batch: m(batch["x"]), precision="bf16")
    torch.testing.assert_close(lower, logits, atol=0.05, rtol=0.05)
    with pytest.raises(ValueError, match="each of the 17 predicted rows once"):
        predict_logits(model, [items], order=[0] * 17)


def test_correct():
    logits = torch.tensor([[0.1, 0.9], [2.0, -1.0], [0.0, 3.0]])
    assert correct(logits, torch.tensor([1, 1, 1])).tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(ValueError, match=r"shapes \(3, 2\) and \(2,\)"):
        correct(logits, [0, 1])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_macro_f1_is_scikit_learn_s(pairs):
    predicted, true = np.array(pairs).T
    assert macro_f1(pairs) == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0))


def test_perplexity():
    assert perplexity([[4 * math.log(3), 4], [2 * math.log(3), 2]]) == pytest.approx(3)
    for metric in (macro_f1, perplexity):
        with pytest.raises(ValueError, match=r"\[item, 2\]"):
            metric([1.0, 2.0])
