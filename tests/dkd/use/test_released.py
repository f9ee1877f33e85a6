"""Converted checkpoints predict what the released network predicted; other files are refused."""

import hashlib
import pickle

import numpy as np
import pytest
import torch

from dkd import checkpoint, evaluation
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter, upsample
from dkd.use import released
from tests.dkd.command import run
from tests.dkd.conftest import SPEC

from .conftest import network

NAMES = ("background", "a", "b", "c")


def published(model: Segmenter) -> dict[str, torch.Tensor]:
    """The state of a network under the names of the release."""
    state = {}
    for name, value in model.state_dict().items():
        name = name.replace("last_conv.", "aspp.last_conv.").replace("auxiliary.", "cls.0.")
        if name.startswith("heads."):
            _, step, rest = name.split(".")
            name = f"cls.{int(step) + 1}.{rest}"
        state[name] = value
    return state


def convert(file, out, **changes):
    out.mkdir()
    options = {"dataset": "x", "class_names": NAMES, "order": (1, 2, 3), "sizes": (2, 1), "model": SPEC, **changes}
    released.convert(file, out=out, **options)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_weight_is_converted(tmp_path, prefix):
    model = network((2, 1)).to(memory_format=torch.channels_last)
    state = {prefix + name: value for name, value in published(model).items()}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "out")
    ours, learned = checkpoint.load(tmp_path / "out", "cpu")
    assert (learned.order, learned.sizes, learned.dataset) == ((1, 2, 3), (2, 1), "x")
    images = torch.randn(1, 3, 48, 64)
    for found, known in zip(ours(images).logits, model(images).logits, strict=True):
        assert torch.equal(found, known)


class Harm:
    def __reduce__(self):
        return (print, ("run by a pickle",))


def test_other_files_are_refused_and_never_executed(tmp_path, capfd):
    state = published(network((2, 1)))
    fewer = {name: value for name, value in state.items() if not name.startswith("cls.2")}
    wrong = {**state, "cls.1.weight": torch.zeros(3, 8, 1, 1)}
    cases = {
        "fewer": ({"state_dict": fewer}, r"missing: heads.1.weight, heads.1.bias; check data set, scenario, step"),
        "more": ({"state_dict": {**state, "cls.3.bias": torch.zeros(1)}}, "unknown: cls.3.bias; check"),
        "wrong": ({"state_dict": wrong}, r"of another shape: heads.0.weight \(3, 8, 1, 1\) instead of \(2, 8, 1, 1\)"),
        "empty": ({"state_dict": {}}, r"missing: backbone.conv1.0.weight, .* and \d+ more; check"),
        "none": ({"weights": 1}, "contains no state_dict of tensors"),
        "list": ([1, 2], "contains no state_dict of tensors"),
        "names": ({"state_dict": {1: torch.zeros(1)}}, "contains no state_dict of tensors"),
        "half": (
            {"state_dict": {**state, "cls.1.bias": torch.zeros(2).half()}},
            "of another type: heads.0.bias float16 instead of float32",
        ),
        "infinite": ({"state_dict": {**state, "cls.1.bias": torch.full((2,), torch.inf)}}, "not finite: heads.0.bias"),
        "code": (
            {"state_dict": state, "extra": Harm()},
            "refused, as it contains more than tensors and plain",
        ),
    }
    for name, (content, said) in cases.items():
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(InputError, match=said) as caught:
            convert(tmp_path / f"{name}.pth", tmp_path / name)
        assert str(tmp_path / f"{name}.pth") in str(caught.value) and "\n" not in str(caught.value)
        assert not list((tmp_path / name).iterdir())
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Harm(), protocol=2))
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "fewer.pth").read_bytes()[:5000])
    (tmp_path / "zero.pth").write_bytes(b"")
    for name in ("pickle", "text", "cut", "zero"):
        with pytest.raises(InputError, match=rf"{name}.pth: (refused|not a file saved by torch)") as caught:
            convert(tmp_path / f"{name}.pth", tmp_path / name)
        assert "\n" not in str(caught.value)
    assert "run by a pickle" not in capfd.readouterr().out


def fill(shapes: dict[str, list[int]], seed: int, gain: float) -> dict[str, torch.Tensor]:
    """The weights that the reference numbers were computed with."""
    draw, state = np.random.RandomState(seed), {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(100)
            continue
        if name.endswith("running_var"):
            drawn = 0.5 + draw.rand(*shape)
        elif name.endswith("running_mean"):
            drawn = draw.randn(*shape) * 0.1
        elif len(shape) == 4:
            drawn = draw.randn(*shape) * np.sqrt(gain / np.prod(shape[1:]))
        elif name.startswith("cls"):
            drawn = draw.randn(*shape) * 0.1
        elif name.endswith("weight"):
            drawn = 0.5 + 0.5 * draw.rand(*shape)
        else:
            drawn = draw.randn(*shape) * 0.05
        state[name] = torch.from_numpy(drawn.astype(np.float32))
    return state


@pytest.mark.shared
@pytest.mark.slow
def test_the_released_network_gives_its_published_logits_and_labels(golden, tmp_path, monkeypatch):
    content = golden("official_checkpoint.json")
    known = content["15-1_step1"]
    torch.save({"state_dict": fill(content["state_dict_shapes"], 7, 2.0)}, tmp_path / "released.pth")
    words = f"{tmp_path / 'released.pth'} --dataset voc2012 --scenario 15-1 --step 1 --out {tmp_path / 'out'}".split()
    run(monkeypatch, "import-checkpoint", *words)
    model, learned = checkpoint.load(tmp_path / "out", "cpu")
    assert learned.sizes == (15, 1) and learned.class_names[16] == "pottedplant"
    image = torch.from_numpy(np.random.RandomState(11).randn(1, 3, 65, 97).astype(np.float32))
    with torch.no_grad():
        output = model(image)
    logits = upsample(torch.cat([output.auxiliary, output.scores], dim=1), output.size)
    assert list(logits.shape) == known["shape"]
    assert logits.mean().item() == pytest.approx(known["mean"], rel=1e-5)
    assert logits.std().item() == pytest.approx(known["std"], rel=1e-5)
    for channel, row, column, value in known["points"]:
        assert logits[0, channel, row, column].item() == pytest.approx(value, rel=1e-4)
    labels = evaluation.predict(model, image)[0].numpy()
    assert hashlib.sha256(labels.tobytes()).hexdigest() == known["pred_sha256"]
