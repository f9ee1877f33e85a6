"""A checkpoint that was edited or damaged is refused in one line, before anything is written."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from dkd import checkpoint
from dkd.errors import InputError
from tests.dkd.use.conftest import save


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save(tmp_path_factory.mktemp("checkpoint") / "good", (3, 1, 6), (2, 1))


@pytest.fixture
def damaged(good, tmp_path):
    return shutil.copytree(good, tmp_path / "damaged")


def edit(folder, section=None, **values):
    content = json.loads((folder / "step.json").read_text())
    (content[section] if section else content).update(values)
    (folder / "step.json").write_text(json.dumps(content))


def refused(folder, words):
    with pytest.raises(InputError, match=words) as caught:
        checkpoint.load(folder, "cpu")
    assert str(caught.value).startswith(str(folder)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        (
            None,
            {"class_names": ["background", "disc"]},
            "step.json: order: label 6 is not among the 2 class_names; res",
        ),
        (None, {"class_names": ["a", "b", "a"]}, "class_names: a name is repeated"),
        (None, {"class_names": "disc"}, "class_names: expected a list of 2 to 255 names, got .*; restore the file"),
        (None, {"sizes": None}, "sizes: expected a list of positive integers, got null"),
        (None, {"sizes": [2, 2]}, r"sizes: \[2, 2\] add up to 4, but order has 3"),
        (None, {"sizes": [3, 0]}, "sizes: expected"),
        (None, {"order": [1, 1, 2]}, "order: .* repeats a label"),
        (None, {"order": [1, True, 2]}, "order: expected a list of labels"),
        (None, {"seed": -1}, "seed: expected an integer of at least 0, got -1"),
        (None, {"model": []}, r"model: expected a map of keys and values, got \[\]"),
        (None, {"kind": 1}, "kind: unknown key"),
        ("model", {"aspp_dilations": [0]}, "model: aspp_dilations: expected"),
        ("model", {"aspp_channels": 10**9}, "model: aspp_channels: expected an integer from 1 to 4096"),
        ("model", {"output_stride": 12}, "model: output_stride: expected 8, 16 or 32, got 12"),
        ("model", {"dropout": float("nan")}, "model: dropout: expected a number from 0 to 1, got NaN"),
        ("model", {"std": [1, 1, 0]}, "model: std: expected three positive numbers"),
        ("model", {"backbone": "resnet99"}, "step.json: model.backbone: timm knows no backbone 'resnet99'"),
        (
            "model",
            {"aspp_channels": 4},
            "model.safetensors: of another shape: aspp.* and .* more; does not fit",
        ),
    ],
)
def test_an_edited_step_is_one_line(damaged, section, values, words):
    edit(damaged, section, **values)
    refused(damaged, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "not readable as JSON"), (b"\xff", "not readable"), (b"[1]", "expected a map"), (b"[" * 10**5, "not reada")],
)
def test_a_step_that_is_no_map_is_one_line(damaged, content, words):
    (damaged / "step.json").write_bytes(content)
    refused(damaged, words)


def test_a_missing_key_is_one_line(damaged):
    content = json.loads((damaged / "step.json").read_text())
    del content["sizes"]
    (damaged / "step.json").write_text(json.dumps(content))
    refused(damaged, "step.json: sizes: missing; restore the file, or train the step again")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w | {"heads.1.bias": torch.tensor([float("nan")])}, "not finite: heads.1.bias; does not fit"),
        (
            lambda w: w | {"heads.1.bias": torch.zeros(1).half()},
            "type: heads.1.bias float16 instead of float32",
        ),
        (lambda w: w | {"heads.2.bias": torch.zeros(1)}, "unknown: heads.2.bias"),
        (lambda w: {name: value for name, value in w.items() if name != "heads.0.bias"}, "missing: heads.0.bias"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(damaged, change, words):
    path = damaged / "model.safetensors"
    save_file(change(load_file(path)), path)
    refused(damaged, words)


def test_weights_that_are_not_readable_are_one_line(damaged):
    (damaged / "model.safetensors").write_bytes(b"")
    refused(damaged, "not readable as weights")
    (damaged / "model.safetensors").unlink()
    refused(damaged, "not a checkpoint, model.safetensors is missing")
    (damaged / "model.safetensors").mkdir()
    refused(damaged, "is a folder, not a file; restore")
