"""An exported file gives the labels and scores of the checkpoint, and says what they mean, without dkd."""

import json
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from dkd.use import export
from dkd.use.predict import Predictor
from tests.dkd.command import run
from tests.dkd.conftest import SPEC

from .conftest import balance, save

ORDER = (3, 1, 6)
SIZES = [(1, 64, 96), (3, 61, 130), (1, 150, 40)]
"""(N, H, W): other than those that the exporter is given, odd ones among them."""


def images(count, height, width):
    return np.random.default_rng(height).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


def read(path):
    """What another program does: a function from images to labels and scores, and the facts in the file."""
    extra = {"dkd.json": ""}
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        facts = session.get_modelmeta().custom_metadata_map["dkd.json"]
        return lambda given: session.run(["labels", "scores"], {"images": given}), json.loads(facts)
    if path.suffix == ".pt":
        module = torch.jit.load(str(path), _extra_files=extra)
    else:
        module = torch.export.load(path, extra_files=extra).module()
    return lambda given: [found.numpy() for found in module(torch.from_numpy(given))], json.loads(extra["dkd.json"])


@pytest.mark.parametrize(
    ("format", "head", "backbone"),
    [
        pytest.param("onnx", "sigmoid", "test_resnet", marks=pytest.mark.slow),
        pytest.param("onnx", "softmax", "test_resnet", marks=pytest.mark.slow),
        pytest.param("onnx", "unknown", "test_convnext", marks=pytest.mark.slow),
        ("torchscript", "softmax", "test_resnet"),
        pytest.param("torch", "unknown", "test_byobnet", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_file_gives_the_labels_of_the_checkpoint_at_any_size(tmp_path, monkeypatch, capsys, format, head, backbone):
    folder = save(tmp_path / "net", ORDER, (2, 1), spec={**SPEC, "head": head, "backbone": backbone})
    balance(folder)
    path = tmp_path / f"net{export.FORMATS[format]}"
    run(monkeypatch, "export", folder, "--format", format, "--out", path)
    printed = capsys.readouterr().out
    assert f"{path}: {format}, {path.stat().st_size / 1e6:.2f} MB; 256 x 256 pixels in " in printed
    assert [each.name for each in tmp_path.iterdir() if each != folder] == [path.name], "one file"
    predict, (other, facts) = Predictor(folder, "cpu", size=None, tile=1024, threads=1), read(path)
    shown = set()
    for shape in SIZES:
        given = images(*shape)
        labels, scores = other(given)
        expected = predict(torch.from_numpy(given))
        assert labels.dtype == np.uint8 and labels.shape == expected.shape
        # Sums in another order can move a border by a pixel.
        assert (labels == expected).mean() > 0.999
        assert np.allclose(scores, predict.scores(torch.from_numpy(given)), atol=1e-4)
        shown |= set(np.unique(labels).tolist())
    assert len(shown) > 2
    assert tuple(facts["names"]) == predict.names and tuple(facts["learned"]) == predict.learned


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_a_format_does_not_know_is_one_line_and_a_fixed_size_helps(tmp_path, monkeypatch):
    """timm pads the shortcuts of this network by rounding up, which torch.export can't store for any size."""
    folder = save(tmp_path / "net", ORDER, (2, 1))
    words = "export", folder, "--format", "torch", "--out", tmp_path / "net.pt2"
    with pytest.raises(AssertionError, match=r"net: can't be exported as torch \(.*\); name a fixed size \(--size\)"):
        run(monkeypatch, *words)
    assert not (tmp_path / "net.pt2").exists()
    run(monkeypatch, *words, "--size", 48)
    given = images(1, 48, 48)
    expected = Predictor(folder, "cpu", size=None, tile=1024, threads=1)(torch.from_numpy(given))
    assert (read(tmp_path / "net.pt2")[0](given)[0] == expected).mean() > 0.999


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_transformer_needs_a_fixed_size(tmp_path, monkeypatch):
    folder = save(tmp_path / "net", ORDER, (2, 1), spec={**SPEC, "backbone": "test_vit"})
    words = "export", folder, "--format", "torchscript", "--out", tmp_path / "net.pt"
    with pytest.raises(AssertionError, match=r"net: its backbone works on sides that are multiples of 16, so .*--size"):
        run(monkeypatch, *words)
    assert not (tmp_path / "net.pt").exists()
    run(monkeypatch, *words, "--size", 50)
    other, facts = read(tmp_path / "net.pt")
    given = images(1, 50, 50)
    expected = Predictor(folder, "cpu", size=None, tile=1024, threads=1)(torch.from_numpy(given))
    assert (other(given)[0] == expected).mean() > 0.999 and facts["input"].endswith("(1, 3, 50, 50)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "net.onnx", "--format", "tflite"], r"--format: unknown format 'tflite'; known: "),
        (["--out", "net.pt", "--format", "torch"], r"--out: 'net\.pt' does not end in \.pt2"),
        (["--out", "net.onnx"], r"nowhere: not a checkpoint, step\.json is missing"),
    ],
)
def test_what_can_not_be_exported_is_one_line(monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=message):
        run(monkeypatch, "export", "nowhere", *words)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    folder = save(tmp_path / "net", ORDER, (2, 1))
    with pytest.raises(AssertionError, match=r'onnx needs the package onnxruntime; pip install -e "\.\[onnx\]"'):
        run(monkeypatch, "export", folder, "--out", tmp_path / "net.onnx")
