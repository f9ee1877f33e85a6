"""What `star` prepares for a step, and what it keeps after it, on hand-made outputs."""

import pytest
import torch

from dkd.errors import InputError
from dkd.losses import Target
from dkd.methods import star
from dkd.model.segmenter import Output
from dkd.terms.prototypes import Prototypes

OPTIONS = {"pkd": 5.0, "contrast": 0.05, "pos_weight": 4.0}


def output(answers):
    """A network with two classes, whose logits say what `answers` (N, h, w) does."""
    logits = torch.stack([torch.where(answers == id, 1.0, -1.0) for id in (1, 2)], 1)
    weights, biases = (torch.ones(2, 3),), (torch.zeros(2),)
    size = tuple(answers.shape[1:])
    features = torch.rand(len(answers), 3, *size)
    return Output(features, (logits,), torch.zeros(1), weights, size, biases=biases)


def batches():
    """Two, of 2 x 2 cells: class 1 is seen in two of them, class 2 in one, background in three; one is labelled."""
    for answers, labels in (([[1, 1], [2, 0]], [[0, 0], [0, 0]]), ([[0, 0], [1, 2]], [[0, 0], [3, 255]])):
        yield output(torch.tensor([answers])), Target(torch.tensor([labels]).byte(), 3, 1.0, "negative", None)


def kept(cells, background):
    counts = torch.tensor(cells, dtype=torch.float64)
    still = torch.zeros(2, 3, dtype=torch.float64)
    return Prototypes(still, still, counts, counts, counts, torch.tensor(background))._asdict()


def test_what_the_pictures_lack_is_drawn_in_overlap():
    found = star.prepare(batches(), 3, kept=kept([12, 4], 30), setting="overlap", **OPTIONS)
    # (12 - 2) / 2 and (4 - 1) / 2 rounded down; 30 x 0.99 background cells over 3 found, less a half.
    assert found["missing"].tolist() == [5, 1] and found["ratio"].item() == pytest.approx(9.9 - 0.5)
    assert found["cells"].tolist() == [12, 4] and found["background"].item() == pytest.approx(29.7 + 1.5)


def test_all_that_is_kept_is_drawn_in_disjoint():
    found = star.prepare(batches(), 3, kept=kept([12, 4], 30), setting="disjoint", **OPTIONS)
    assert found["missing"].tolist() == [6, 2] and found["ratio"].item() == 10
    assert found["cells"].tolist() == [14, 5] and found["background"].item() == 33


def test_enough_is_not_drawn():
    found = star.prepare(batches(), 3, kept=kept([1, 2], 0), setting="overlap", **OPTIONS)
    assert found["missing"].tolist() == [0, 0] and found["ratio"] == 0


def test_old_classes_stay_as_they_were_kept():
    prepared = star.prepare(batches(), 3, kept=kept([12, 4], 30), setting="overlap", **OPTIONS)
    found = star.remember(batches(), 3, **OPTIONS, **prepared)
    assert found.keys() == set(Prototypes._fields) and found["cells"].tolist() == [12, 4, 1]
    assert (found["units"][:2] == 0).all() and found["units"][2].norm().item() == pytest.approx(1)
    assert found["background"] == prepared["background"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "the previous checkpoint keeps no prototypes; train its step again, with star or as a base"),
        (kept([1, 2], 0) | {"cells": torch.ones(1)}, "the previous checkpoint keeps prototypes of other classes than"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line(given, words):
    with pytest.raises(InputError, match=f"^{words}"):
        star.prepare(batches(), 3, kept=given, setting="overlap", **OPTIONS)


def test_drawn_features_teach_the_new_classifier_alone():
    torch.manual_seed(0)
    features, weight = torch.rand(1, 3, 2, 2), torch.randn(1, 3, requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    logits = torch.einsum("ndhw,kd->nkhw", features, weight.detach())
    teacher = output(torch.ones(1, 2, 2))
    student = teacher._replace(features=features, logits=(*teacher.logits, logits), weights=(*teacher.weights, weight))
    student = student._replace(biases=(*teacher.biases, bias))
    prepared = star.prepare(batches(), 3, kept=kept([9, 4], 30), setting="overlap", **OPTIONS)
    target = Target(torch.zeros(1, 2, 2, dtype=torch.uint8), 3, 1.0, "negative", None)
    total, terms = star.loss(student, teacher, target, **OPTIONS, **prepared)
    slope, shift = torch.autograd.grad(total, (weight, bias))
    # Prototypes without direction: each drawn feature is 0, and says the bias, sigmoid 0.5, on 3 + 1 of 4 + 4 cells.
    assert prepared["missing"].tolist() == [3, 1] and (slope == 0).all()
    assert shift.item() == pytest.approx(4 * 0.5 / (4 + 4))
    own = torch.nn.functional.softplus(logits).mean()
    assert terms["mbce"].item() == pytest.approx(((own + 0.6931472) / 2).item())
