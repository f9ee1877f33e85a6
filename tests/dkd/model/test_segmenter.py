"""Classifiers of the network."""

import torch

from dkd.model.segmenter import Segmenter
from tests.dkd.conftest import SPEC


def test_new_classifiers_start_from_the_auxiliary_one_or_at_random():
    model = Segmenter(SPEC, [2])
    model.add_head(3, from_auxiliary=True)
    assert torch.equal(model.heads[1].weight, model.auxiliary.weight.expand(3, -1, -1, -1))
    assert torch.equal(model.heads[1].bias, model.auxiliary.bias.expand(3))
    model.add_head(1, from_auxiliary=False)
    assert not torch.equal(model.heads[2].weight, model.auxiliary.weight) and model.sizes == (2, 3, 1)


def test_the_auxiliary_classifier_sends_no_gradient_back():
    model = Segmenter(SPEC, [2]).eval()
    model(torch.randn(2, 3, 32, 32)).auxiliary.sum().backward()
    assert model.auxiliary.weight.grad is not None
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith("auxiliary"))
