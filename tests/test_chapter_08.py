"""UDA's define cells: its two losses, word replacement, filtering, and the student's invariances."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlib import pretrain

uda = pretrain.definitions("08_uda")
WORDS = ["the", "ship", "sailed", "north", "until", "winter", "came", "and", "every", "harbour", "closed", "don't"]
TEXTS = [" ".join(random.Random(i).choices(WORDS, weights=range(1, 13), k=5 + i % 9)) + "." for i in range(60)]
SEEDS = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def replace():
    return uda.WordReplacement(TEXTS)


@pytest.mark.parametrize("num_classes", [2, 5, 14])
def test_thresholds_rise_within_their_bounds_and_keep_their_order(num_classes):
    def curve(name):
        return np.array([uda.tsa_threshold(t, 200, num_classes, name) for t in range(201)])

    curves = {name: curve(name) for name in ("log", "linear", "exp")}
    for values in curves.values():
        assert (np.diff(values) > 0).all() and values.min() >= 1 / num_classes and values.max() <= 1
    inner = slice(2, 199)  # at the very ends the order is another one
    assert (curves["exp"][inner] <= curves["linear"][inner]).all()
    assert (curves["linear"][inner] <= curves["log"][inner]).all()
    np.testing.assert_allclose(curves["linear"][[0, -1]], [1 / num_classes, 1])
    assert curves["exp"][-1] == 1 and curves["log"][-1] == pytest.approx(1 - math.exp(-5) * (1 - 1 / num_classes))
    assert curve(None).tolist() == [1.0] * 201


@given(SEEDS, st.floats(0.2, 1.0))
def test_annealed_loss_is_the_mean_over_those_that_are_kept(seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (9,), generator=generator)
    right = logits.softmax(dim=1)[range(9), labels]
    kept = [-math.log(p) for p in right.tolist() if p <= threshold]
    found = uda.annealed_loss(logits, labels, torch.full((9,), threshold, dtype=torch.float64))
    assert found.item() == pytest.approx(np.mean(kept) if kept else 0.0)


def test_leaving_out_at_random_leaves_out_as_many():
    torch.manual_seed(0)
    logits = torch.tensor([[2.0, 0.0]] * 3 + [[0.0, 2.0]] * 5)  # all of one of two losses
    labels, threshold = torch.zeros(8).long(), torch.full((8,), 0.5)
    low, high = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert uda.annealed_loss(logits, labels, threshold).item() == pytest.approx(high)
    found = {round(uda.annealed_loss(logits, labels, threshold, at_random=True).item(), 4) for _ in range(50)}
    possible = {round((k * low + (5 - k) * high) / 5, 4) for k in range(4)}  # five are kept
    assert found <= possible and len(found) > 1


@given(SEEDS, st.sampled_from([0, 0.3, 1.0]), st.floats(0.0, 0.9))
def test_consistency_loss_row_by_row(seed, tau, beta):
    generator = torch.Generator().manual_seed(seed)
    original, augmented = 3 * torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    original.requires_grad_(), augmented.requires_grad_()
    expected = 0.0
    for z, answer in zip(original.detach(), augmented.detach(), strict=True):
        if z.softmax(dim=0).max() > beta:
            target = (z / tau).softmax(dim=0) if tau else torch.eye(3, dtype=torch.float64)[z.argmax()]
            expected -= (target * answer.log_softmax(dim=0)).sum().item() / 7
    loss = uda.consistency_loss(original, augmented, tau, beta)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert original.grad is None and augmented.grad.isfinite().all()


@settings(max_examples=25)
@given(SEEDS, st.floats(0.0, 1.0))
def test_replacement_keeps_the_best_word_and_the_number_of_words(replace, seed, p):
    rng, text = np.random.default_rng(seed), TEXTS[seed % len(TEXTS)]
    words = uda.WORD.findall(text)
    chance, values = replace.probabilities(words, p), replace.tf_idf(words)
    assert (chance[values == values.max()] == 0).all()
    assert ((chance >= 0) & (chance <= 1)).all() and chance.sum() <= p * len(words) + 1e-9
    after = uda.WORD.findall(replace(text, p, rng))
    assert len(after) == len(words) and set(after) <= set(replace.vocabulary)
    assert all(old == new for old, new, share in zip(words, after, chance, strict=True) if share == 0)
    assert replace(text, 0.0, rng) == text


def test_as_many_words_are_replaced_as_was_asked_for(replace):
    rng, changed, expected, anywhere = np.random.default_rng(0), 0, 0.0, 0
    for text in TEXTS * 40:
        words = uda.WORD.findall(text)
        chance = replace.probabilities(words, 0.2)
        same = np.array([replace.shares[replace.vocabulary.index(word)] for word in words])
        expected += (chance * (1 - same)).sum()  # a word may be drawn for itself
        after, loose = (uda.WORD.findall(replace(text, 0.2, rng, anywhere=how)) for how in (False, True))
        changed += sum(a != b for a, b in zip(words, after, strict=True))
        anywhere += sum(a != b for a, b in zip(words, loose, strict=True))
    assert changed == pytest.approx(expected, rel=0.05)
    assert anywhere == pytest.approx(expected, rel=0.15)


def test_substitutes_are_drawn_by_their_distance_from_the_best_score(replace):
    scores = np.array([replace.scores[word] for word in replace.vocabulary])
    np.testing.assert_allclose(replace.shares, (scores.max() - scores) / (scores.max() - scores).sum())
    assert replace.shares[scores.argmax()] == 0


def test_texts_that_have_nothing_to_replace(replace):
    rng = np.random.default_rng(0)
    assert [replace(text, 0.9, rng) for text in ("", "...", "ship", "ship ship ship")] == [
        "",
        "...",
        "ship",
        "ship ship ship",
    ]
    assert uda.WordReplacement(["one", "two"]).shares.tolist() == [0.5, 0.5]  # all scores tie


def test_back_translation_goes_sentence_by_sentence_in_one_go():
    seen = []

    def there(sentences):
        seen.append(sentences)
        return [sentence.upper() for sentence in sentences]

    texts = ["It was late.  Was it? 3.5 miles! ", "", "No."]
    found = uda.back_translate(texts, there, lambda sentences: sentences)
    assert found == ["IT WAS LATE. WAS IT? 3.5 MILES!", "", "NO."]
    assert seen == [["It was late.", "Was it?", "3.5 miles!", "", "No."]]


@given(SEEDS, st.integers(1, 30))
def test_filtering_keeps_the_surest_of_each_class(seed, per_class):
    shares = np.random.default_rng(seed).dirichlet(np.ones(4), size=25)
    kept = uda.most_relevant(shares, per_class)
    assert kept.tolist() == sorted(set(kept))
    named, sure = shares.argmax(axis=1), shares.max(axis=1)
    for label in range(4):
        own = [i for i in kept if named[i] == label]
        out = [i for i in range(25) if named[i] == label and i not in own]
        assert len(own) == min(per_class, (named == label).sum())
        assert not out or max(sure[out]) <= min(sure[own])


def test_a_student_sees_neither_padding_nor_length():
    torch.manual_seed(0)
    student = uda.Student([], 16, 3).eval()
    states, mask = torch.randn(4, 6, 16), torch.ones(4, 6).long()
    wider = torch.cat([states, torch.randn(4, 2, 16)], dim=1), torch.nn.functional.pad(mask, (0, 2))
    torch.testing.assert_close(student(*wider), student(states, mask))
    torch.testing.assert_close(student(7 * states, mask), student(states, mask))
    mean = states.mean(dim=1, keepdim=True)
    torch.testing.assert_close(student(mean, mask[:, :1]), student(states, mask))


def test_an_arms_loss_is_the_sum_of_its_parts():
    torch.manual_seed(0)
    student = uda.Student([], 16, 3).eval()  # without dropout

    def texts(count):
        return torch.randn(5, count, 1, 16), torch.ones(5, count, 1)

    batch = {"labelled": texts(1), "original": texts(4), "augmented": texts(4)}
    batch |= {"labels": torch.tensor([0, 1, 2, 0, 1]), "threshold": torch.full((5,), 0.35)}
    logits = {name: student(*uda.flat(batch[name])) for name in ("labelled", "original", "augmented")}
    supervised = uda.annealed_loss(logits["labelled"], batch["labels"], batch["threshold"])
    consistent = uda.consistency_loss(logits["original"], logits["augmented"], 0.4, 0.34)
    torch.testing.assert_close(uda.arm_loss(student, batch, 0.4, 0.34), supervised + consistent)
    alone = {name: value for name, value in batch.items() if name not in ("original", "augmented")}
    torch.testing.assert_close(uda.arm_loss(student, alone, 0.4, 0.34), supervised)
