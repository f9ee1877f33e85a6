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


def test_an_unknown_class_and_background_have_classifiers_of_their_own():
    model, images = Segmenter({**SPEC, "head": "unknown"}, [2]).eval(), torch.randn(1, 3, 32, 32)
    model.add_head(3, "unknown")
    output = model(images)
    assert model.sizes == (2, 3) and [len(weight) for weight in output.weights] == [2, 3]
    assert output.channels.shape[1] == 2 + 5 and torch.equal(output.channels[:, :1], output.unknown)
    assert torch.equal(output.channels[:, 1:2], model.background(output.features))
    assert torch.allclose(output.logits[1], output.unknown.expand(-1, 3, -1, -1))


def test_new_classifiers_may_have_the_weights_of_the_background_alone():
    torch.manual_seed(0)
    model = Segmenter({**SPEC, "head": "softmax"}, [2])
    before = model.heads[0].bias.clone()
    model.add_head(3, "background-row")
    assert torch.equal(model.heads[1].weight, model.heads[0].weight[:1].expand(3, -1, -1, -1))
    assert torch.equal(model.heads[0].bias, before) and len(set(model.heads[1].bias.tolist())) == 3


def test_new_classifiers_may_be_drawn_from_a_normal_distribution():
    torch.manual_seed(0)
    model = Segmenter({**SPEC, "aspp_channels": 64}, [2])
    model.add_head(200, "normal")
    assert model.heads[1].weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("head", "init", "known"),
    [("sigmoid", "background", "random, normal, auxiliary"), ("unknown", "x", "random, normal, auxiliary, unknown")],
)
def test_a_start_that_a_head_does_not_have_is_one_line(head, init, known):
    words = rf"^methods: start: '{init}' does not fit the head {head}; known: {known}$"
    with pytest.raises(InputError, match=words):
        Segmenter({**SPEC, "head": head}, [2]).add_head(1, init)


def test_classifiers_are_linear_in_the_features():
    model = Segmenter(SPEC, [2]).eval()
    model.add_head(3, "random")
    output = model(torch.randn(2, 3, 32, 32))
    for logits, weight, bias in zip(output.logits, output.weights, output.biases, strict=True):
        expected = torch.einsum("ndhw,kd->nkhw", output.features, weight) + bias[:, None, None]
        assert torch.allclose(logits, expected, atol=1e-5)


def test_maps_are_exposed_where_they_are_asked_for():
    model, images = Segmenter(SPEC, [2]).eval(), torch.randn(2, 3, 32, 32)
    assert model(images).stages == () and model(images).backbone is None
    plain = model(images).features
    model.expose(("stages", "activated", "backbone"))
    for _ in range(2):
        output = model(images)
    assert torch.equal(output.features, plain) and len(output.stages) == 4
    assert (output.stages[3] < 0).any(), "before the activation"
    assert torch.equal(output.stages[3].relu(), output.backbone)
    assert all(torch.equal(a.relu(), b) for a, b in zip(output.stages, output.activated, strict=True))
    output.stages[3].square().sum().backward()
    assert model.backbone.layer4[0].downsample[1].weight.grad.any()
    with pytest.raises(InputError, match=r"^model\.backbone: the method needs the outputs of four residual stages"):
        Segmenter({**SPEC, "backbone": "test_convnext", "output_stride": 32}, [2]).expose(("stages",))


def test_the_auxiliary_classifier_sends_no_gradient_back():
    model = Segmenter(SPEC, [2]).eval()
    model(torch.randn(2, 3, 32, 32)).auxiliary.sum().backward()
    assert model.auxiliary.weight.grad is not None
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith("auxiliary"))
