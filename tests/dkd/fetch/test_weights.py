"""Pretrained weights from Python packages."""

import pytest
import timm
import torch
from safetensors import safe_open

from dkd.errors import InputError
from dkd.fetch import weights
from dkd.model import backbone
from tests.dkd.command import CommandError, run

LITE0 = "tf_efficientnet_lite0"
OPTIONS = {"output_stride": 16, "norm_momentum": 0.01}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    weights.write(LITE0, path)
    return path


def test_the_file_gives_the_stored_logit_and_says_whose_it_is(file):
    network = timm.create_model(LITE0, pretrained=False, checkpoint_path=str(file)).eval().double()
    assert network(weights.waves().double())[0, 0].item() == pytest.approx(weights.PACKAGES[LITE0].logit, abs=1e-6)
    with safe_open(file, "pt") as content:
        assert content.metadata()["architecture"] == LITE0


def test_it_is_a_backbone_and_that_of_no_other_padding(file):
    built, channels, _ = backbone.build(LITE0, pretrained=str(file), **OPTIONS)
    with safe_open(file, "pt") as content:
        assert channels == 320 and torch.equal(built.conv_stem.weight, content.get_tensor("conv_stem.weight"))
    with pytest.raises(InputError, match="says 'tf_efficientnet_lite0', not 'efficientnet_lite0'"):
        backbone.build("efficientnet_lite0", pretrained=str(file), **OPTIONS)


def test_layers_are_matched_by_order_and_shape():
    ours = {"a.weight": torch.zeros(2), "a.num_batches_tracked": torch.tensor(0), "b": torch.zeros(3)}
    theirs = {"x": torch.ones(2), "y": torch.ones(3), "y.num_batches_tracked": torch.tensor(7)}
    found = weights.renamed(theirs, ours)
    assert found["a.weight"].sum() == 2 and found["b"].sum() == 3 and found["a.num_batches_tracked"] == 0
    with pytest.raises(InputError, match="same layers"):
        weights.renamed({"x": torch.ones(3), "y": torch.ones(2)}, ours)


def test_the_command(monkeypatch, tmp_path):
    out = tmp_path / "new" / "lite0.safetensors"
    run(monkeypatch, "weights", LITE0, "--out", out)
    assert out.stat().st_size > 10_000_000
    with pytest.raises(CommandError, match="did you mean 'tf_efficientnet_lite0'"):
        run(monkeypatch, "weights", "efficientnet_lite0", "--out", out)
    with pytest.raises(CommandError, match="does not end in"):
        run(monkeypatch, "weights", LITE0, "--out", tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"package": "no_such_package"}, "package no-such-package is not installed"),
        ({"file": "models/other.pth"}, "missing; install"),
        ({"digest": "sha256:00"}, "not the documented file"),
        ({"logit": 1.0}, "its logit is -0.2527"),
    ],
)
def test_what_is_not_as_tested_is_refused(monkeypatch, tmp_path, change, words):
    monkeypatch.setitem(weights.PACKAGES, LITE0, weights.PACKAGES[LITE0]._replace(**change))
    with pytest.raises(InputError, match=words):
        weights.write(LITE0, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
