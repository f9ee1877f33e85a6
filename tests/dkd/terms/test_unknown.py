"""SSUL: labels with an unknown class, the previous network's answers, and the decision."""

import pytest
import torch
from torch.nn import functional as F

from dkd import bilinear
from dkd.terms import unknown
from tests import plain


def logits(*rows):
    """One row of pixels: (1, C, 1, W) of C logits per pixel."""
    return torch.tensor(rows, dtype=torch.float32).T[None, :, None]


def test_salient_background_becomes_unknown():
    labels = torch.tensor([[[0, 0, 1, 2, 255, 255]]], dtype=torch.uint8)
    salient = torch.tensor([[[True, False, True, False, True, False]]])
    found = unknown.relabel(labels, salient)
    assert found.tolist() == [[[0, 1, 2, 3, 255, 255]]] and found.dtype == torch.uint8
    assert unknown.relabel(labels, True).tolist() == [[[0, 0, 2, 3, 255, 255]]]


def test_confident_answers_take_the_place_of_unknown_and_background():
    sure, unsure, nothing = [-5, -5, 2, -5], [-5, -5, 0.5, -5], [-5, 4, 3, 2]
    labels = torch.tensor([[[0, 1, 1, 1, 3, 255]]], dtype=torch.uint8)
    teacher = logits(sure, sure, unsure, nothing, sure, sure)
    found = unknown.pseudo_labels(labels, teacher, 0.7)
    assert found.tolist() == [[[2, 2, 1, 1, 3, 255]]] and found.dtype == torch.uint8
    assert unknown.pseudo_labels(labels, teacher, 0.6).tolist() == [[[2, 2, 2, 1, 3, 255]]]


def test_answers_are_those_at_full_size(monkeypatch):
    torch.manual_seed(0)
    y, labels = torch.randn(3, 5, 4, 4) * 3, torch.randint(0, 2, (3, 17, 13), dtype=torch.uint8)
    score, best = plain.upsample(y, (17, 13)).sigmoid().max(1)
    expected = torch.where((best > 1) & (score >= 0.7), best.to(torch.uint8), labels)
    for elements in (1, 10**6):
        monkeypatch.setattr(bilinear, "CPU_ELEMENTS", elements)
        assert torch.equal(unknown.pseudo_labels(labels, y, 0.7), expected)


def test_the_mean_is_over_pixels_that_are_not_void():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 9, 8), dtype=torch.uint8)
    labels[0, :4] = 255
    known = labels != 255
    truth = plain.one_hot(labels, 0, 4, torch.float64)
    terms = F.binary_cross_entropy_with_logits(plain.upsample(x, (9, 8)), truth, reduction="none").sum(1)
    ours, theirs = unknown.bce(x, labels), terms[known].mean()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    assert torch.allclose(*(torch.autograd.grad(2 * term, x)[0] for term in (ours, theirs)), rtol=1e-9)
    loss = unknown.bce(x, torch.full_like(labels, 255))
    assert loss == 0 and (torch.autograd.grad(loss, x)[0] == 0).all()


def test_unknown_speaks_for_the_background_and_is_never_answered():
    # Together 0.4 + 0.4 against 0.7; alone 0.4 against 0.7; unknown alone at its best.
    low, high, never = -0.4055, 0.8473, -9.0
    x = logits([low, low, high, never], [never, low, high, never], [9.0, never, never, never])
    assert unknown.decide(x, (1, 3)).tolist() == [[[0, 1, 0]]]
    x = torch.randn(2, 6, 4, 5) * 3
    scores = plain.upsample(x, (16, 19)).sigmoid()
    expected = torch.cat((scores[:, :1] + scores[:, 1:2], scores[:, 2:]), 1).argmax(1)
    assert torch.equal(unknown.decide(x, (16, 19)).long(), expected)
