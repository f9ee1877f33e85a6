"""Classifiers of the network."""

import pytest
import torch

from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from tests.dkd.conftest import SPEC


def test_new_classifiers_start_from_the_auxiliary_one_or_at_random():
    model = Segmenter(SPEC, [2])
    model.add_head(3, "auxiliary")
    assert torch.equal(model.heads[1].weight, model.auxiliary.weight.expand(3, -1, -1, -1))
    assert torch.equal(model.heads[1].bias, model.auxiliary.bias.expand(3))
    model.add_head(1, "random")
    assert not torch.equal(model.heads[2].weight, model.auxiliary.weight) and model.sizes == (2, 3, 1)


def test_a_softmax_has_a_background_and_new_classes_may_share_its_probability():
    torch.manual_seed(0)
    model, images = Segmenter({**SPEC, "head": "softmax"}, [2]).eval(), torch.randn(1, 3, 32, 32)
    before = model(images)
    assert before.background.shape == (1, 1, 2, 2) and before.scores.shape == (1, 2, 2, 2)
    assert model.sizes == (2,) and [len(weight) for weight in before.weights] == [2]
    for step, classes in enumerate((3, 1), start=1):
        model.add_head(classes, "background")
        assert model.sizes == (2, 3, 1)[: step + 1] == Segmenter(model.spec, model.sizes).sizes
        after, old = model(images), before.channels.shape[1]
        logs = after.channels.log_softmax(1)
        together = torch.cat((logs[:, :1], logs[:, old:]), 1).logsumexp(1, keepdim=True)
        kept = torch.cat((together, logs[:, 1:old]), 1)
        assert torch.allclose(kept, before.channels.log_softmax(1), atol=1e-5)
        assert torch.allclose(logs[:, old:], logs[:, :1].expand_as(logs[:, old:]), atol=1e-5)
        before = after
    assert Segmenter(SPEC, [2])(images.repeat(2, 1, 1, 1)).background is None


def test_maps_are_exposed_where_they_are_asked_for():
    model, images = Segmenter(SPEC, [2]).eval(), torch.randn(2, 3, 32, 32)
    assert model(images).stages == () and model(images).backbone is None
    plain = model(images).features
    model.expose(("stages", "backbone"))
    for _ in range(2):
        output = model(images)
    assert torch.equal(output.features, plain) and len(output.stages) == 4
    assert (output.stages[3] < 0).any(), "before the activation"
    assert torch.equal(output.stages[3].relu(), output.backbone)
    output.stages[3].square().sum().backward()
    assert model.backbone.layer4[0].downsample[1].weight.grad.any()
    with pytest.raises(InputError, match=r"^model\.backbone: the method needs the outputs of four residual stages"):
        Segmenter({**SPEC, "backbone": "test_convnext", "output_stride": 32}, [2]).expose(("stages",))


def test_the_auxiliary_classifier_sends_no_gradient_back():
    model = Segmenter(SPEC, [2]).eval()
    model(torch.randn(2, 3, 32, 32)).auxiliary.sum().backward()
    assert model.auxiliary.weight.grad is not None
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith("auxiliary"))
