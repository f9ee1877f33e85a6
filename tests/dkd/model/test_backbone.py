"""Backbones: images of any size, weights by name or from a file, one line where one cannot be used."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from dkd import checkpoint, evaluation
from dkd.config import read, yaml_file
from dkd.data import transforms
from dkd.errors import InputError
from dkd.model import backbone
from dkd.model.segmenter import Segmenter
from tests.dkd.conftest import RECIPE, RUNTIME, SCORING, SPEC, train_base

TRANSFORMERS = [("test_vit", 16), ("swin_tiny_patch4_window7_224", 32)]
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "backbones.md"


def network(name, stride=16, **changes):
    return Segmenter({**SPEC, "backbone": name, "output_stride": stride, **changes}, [2]).eval()


def fit_base(prepared, out, model, recipe=RECIPE):
    train_base(prepared, out, recipe, model)
    return checkpoint.load(out, "cpu")


@pytest.fixture
def weights(tmp_path):
    """A file of timm's weights for test_resnet, and what it holds."""
    torch.manual_seed(5)
    tensors = timm.create_model("test_resnet", num_classes=0).state_dict()
    save_file({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors", tensors


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "test_convnext"])
def test_output_stride_is_what_it_says(name, stride):
    model = Segmenter({**SPEC, "backbone": name, "output_stride": stride}, [2, 1]).eval()
    output = model(torch.randn(1, 3, 64, 96))
    assert output.features.shape == (1, 8, 64 // stride, 96 // stride) and (output.features >= 0).all()
    assert [logits.shape[1] for logits in output.logits] == [2, 1] and output.size == (64, 96)


@pytest.mark.parametrize(("name", "stride"), TRANSFORMERS)
@torch.no_grad()
def test_transformers_take_images_of_any_size(name, stride, monkeypatch):
    if name.startswith("swin"):
        small = {"embed_dim": 8, "depths": (1, 2, 1, 1), "num_heads": (1, 1, 2, 2)}
        monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **small))
    model = network(name, stride)
    for size in ((375, 500), (31, 30), (40, 40), (96, 160)):
        images = torch.randn(1, 3, *size)
        output, whole = model(images), [-(-side // stride) * stride for side in size]
        assert output.size == size and evaluation.predict_labels(output.scores, output.size).shape == (1, *size)
        assert output.features.shape == (1, 8, *(side // stride for side in whole))
        # The grid covers the image and nothing else: it is that of the image resized to sides that the backbone takes.
        stretched = F.interpolate(images, whole, mode="bilinear")
        (maps,) = model.backbone(images if list(size) == whole else stretched)
        maps = maps.permute(0, 3, 1, 2) if stride == 32 else maps
        assert torch.equal(output.features, model.last_conv(model.aspp(maps)))


@torch.no_grad()
def test_convolutions_see_images_as_they_are():
    for name in ("test_resnet", "test_convnext"):
        model, images = network(name), torch.randn(1, 3, 37, 51)
        (maps,) = model.backbone(images)
        assert torch.equal(model(images).features, model.last_conv(model.aspp(maps)))


def test_a_transformer_is_trained_and_evaluated_at_sizes_that_are_no_multiples(prepared, tmp_path):
    fit_base(prepared, tmp_path / "base", {**SPEC, "backbone": "test_vit"}, RECIPE._replace(crop=40, epochs=1))
    evaluation.evaluate(tmp_path / "base", 0, SCORING._replace(crop=24), prepared, RUNTIME, tmp_path)
    assert set(json.loads((tmp_path / "metrics.json").read_text())["protocols"]) == {"paper", "full_image"}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_trying_a_backbone_leaves_random_states_alone(name):
    torch.manual_seed(3)
    built, _, _ = backbone.build(name, pretrained=False, output_stride=16, norm_momentum=0.1)
    after = torch.rand(4)
    torch.manual_seed(3)
    word = {"output_stride": 16} if name == "test_resnet" else {"dynamic_img_size": True}
    plain = timm.create_model(name, features_only=True, out_indices=(-1,), **word)
    assert torch.equal(after, torch.rand(4)) and all(module.training for module in built.modules())
    tensors = plain.state_dict()
    assert all(torch.equal(value, tensors[key]) for key, value in built.state_dict().items())


@pytest.mark.parametrize(
    ("name", "stride", "words"),
    [
        ("resnet99", 16, "timm knows no backbone 'resnet99'"),
        ("vit_tiny_patch16_224", 8, "gives output stride 16, not 8; set model.output_stride to 16 or"),
        ("test_efficientnet", 64, "'test_efficientnet' gives output stride 32, not 64"),
        ("vit_tiny_patch14_dinov2", 16, "knows no backbone"),
        ("hrnet_w18_small", 16, "'hrnet_w18_small' can't give output stride 16; a ResNet or ConvNeXt"),
        ("ghostnet_050", 16, r"can't give output stride 16 \(only output_stride==32 is valid"),
        ("cait_xxs24_224", 16, "'cait_xxs24_224' does not support images of any size"),
        ("resmlp_12_224", 16, "does not support images of any size"),
        ("nest_tiny", 16, "does not support images of any size"),
        ("coat_tiny", 32, "does not support images of any size"),
        ("visformer_tiny", 32, "does not support images of any size"),
        ("efficientformer_l1", 32, "does not support images of any size"),
        ("mvitv2_tiny", 32, "does not support images of any size"),
        ("botnet26t_256", 16, "does not support images of any size; take a ResNet"),
        ("inception_v3", 32, r"features of \(2048, 1, 6\) for an image of \(96, 256\), not \(2048, 3, 8\)"),
    ],
)
def test_backbones_that_cannot_be_used(name, stride, words):
    with pytest.raises(InputError, match=words) as caught:
        network(name, stride)
    assert str(caught.value).startswith("model.backbone: ")
    assert "\n" not in str(caught.value) and " ()" not in str(caught.value)


def test_a_backbone_starts_from_a_file_and_may_stay_as_it_is(prepared, weights, tmp_path):
    file, tensors = weights
    spec = {**SPEC, "pretrained": str(file), "frozen": True}
    trained, step = fit_base(prepared, tmp_path / "base", spec)
    kept = trained.backbone.state_dict()
    assert kept and all(torch.equal(value, tensors[name]) for name, value in kept.items())
    assert step.model["pretrained"] is True
    moved, _ = fit_base(prepared, tmp_path / "free", {**spec, "frozen": False})
    assert not torch.equal(moved.backbone.state_dict()["conv1.0.weight"], tensors["conv1.0.weight"])


def test_a_file_that_does_not_fit(weights, caplog):
    file, tensors = weights
    lines = []
    for content in (
        {"other": torch.zeros(1)},
        {**tensors, "conv1.0.weight": torch.zeros(5, 3, 3, 3)},
    ):
        save_file({name: value.contiguous() for name, value in content.items()}, file)
        with pytest.raises(InputError) as caught:
            network("test_resnet", pretrained=str(file))
        lines.append(str(caught.value))
        assert str(file) in lines[-1] and "\n" not in lines[-1]
    assert re.search(r"no weights for 'test_resnet' \(.* has no conv1.0.weight, and \d+ more", lines[0])
    assert "does not fit 'test_resnet' (size mismatch for conv1.0.weight" in lines[1]
    assert not caplog.records, "timm would log the name of every weight"


def test_weights_of_another_backbone_with_the_same_names_are_refused(weights, tmp_path):
    _, tensors = weights
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    named, marked = tmp_path / "resnet18d-1234.safetensors", tmp_path / "model.safetensors"
    save_file(tensors, named)
    save_file(tensors, marked, {"architecture": "tf_efficientnet_lite0"})
    for file, other in ((named, "resnet18d"), (marked, "tf_efficientnet_lite0")):
        with pytest.raises(InputError, match=f"{file.name}: its name or metadata says '{other}', not 'test_resnet'; n"):
            network("test_resnet", pretrained=str(file))


@pytest.mark.parametrize(
    "damage",
    "junk.pth junk.safetensors cut.pth cut.safetensors empty.pth empty.safetensors list.pth none.pth code.pth "
    "numbers.pth folder".split(),
)
def test_a_damaged_file_of_weights_is_one_line(damage, weights, tmp_path):
    good, tensors = weights
    file = tmp_path / damage
    kind = file.stem
    if kind == "folder":
        file.mkdir()
    elif kind == "cut":
        torch.save(tensors, tmp_path / "whole.pth")
        whole = (good if file.suffix == ".safetensors" else tmp_path / "whole.pth").read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    elif kind in ("junk", "empty"):
        file.write_bytes(b"error: not found\n" * 9 if kind == "junk" else b"")
    elif kind != "none":
        torch.save({"list": [1, 2], "code": {"a": Path("b")}, "numbers": {"a": 1}}[kind], file)
    with pytest.raises(InputError) as caught:
        network("test_resnet", pretrained=str(file))
    line = str(caught.value)
    assert line.startswith(f"model.pretrained: {file}: ") and "name a file" in line and "\n" not in line


def test_pretrained_weights_see_the_mean_and_deviation_they_were_made_with(prepared, weights, tmp_path):
    file, _ = weights
    spec = {**SPEC, "pretrained": str(file)}
    model = network("test_resnet", pretrained=str(file))
    assert timm.create_model("test_resnet").pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    image = torch.randint(0, 256, (3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        (maps,) = model.backbone((image[None] / 255 - 0.5) / 0.5)
        features, expected = model(transforms.normalise(image)[None]).features, model.last_conv(model.aspp(maps))
    assert torch.allclose(features, expected, rtol=1e-4, atol=1e-5)
    # Checkpoints have no further tensor; step.json has the values, and older ones without them are used as trained.
    plain = network("test_resnet")
    assert model.state_dict().keys() == plain.state_dict().keys() and plain.factor is None
    trained, step = fit_base(prepared, tmp_path / "base", spec)
    assert step.model == {**spec, "pretrained": True, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert torch.equal(trained.factor, model.factor) and torch.equal(trained.shift, model.shift)
    content = step._asdict() | {"model": {**SPEC, "pretrained": True}}
    (tmp_path / "base" / "step.json").write_text(json.dumps(content))
    assert checkpoint.load(tmp_path / "base", "cpu")[0].factor is None


def test_weights_made_with_the_mean_of_imagenet_see_images_as_they_are(tmp_path):
    torch.manual_seed(5)
    tensors = timm.create_model("test_efficientnet", num_classes=0).state_dict()
    torch.save(tensors, tmp_path / "weights.pth")
    model = network("test_efficientnet", pretrained=str(tmp_path / "weights.pth"))
    assert model.factor is None and "mean" not in model.spec


def test_the_page_on_backbones_is_valid(tmp_path):
    block = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
    run = "runs:\n  - {dataset: shapes, scenario: 4-1, setting: overlap, method: dkd, seed: 0}\n"
    (tmp_path / "params.yaml").write_text(run + block)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "swin_tiny.safetensors").touch()
    (found,) = read.load(tmp_path / "params.yaml").runs
    assert found.model.frozen and found.model.pretrained.endswith("weights/swin_tiny.safetensors")
    backbone.build(found.model.backbone, pretrained=False, output_stride=found.model.output_stride, norm_momentum=0.1)


@pytest.mark.parametrize("path", read.presets().values(), ids=str)
def test_presets_say_whether_the_backbone_is_trained(path):
    assert yaml_file.read_yaml(path)["model"]["frozen"] is False
