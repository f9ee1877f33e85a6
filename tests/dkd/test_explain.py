"""The maps are the terms that the method distils, and they add up."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dkd import checkpoint, cli
from dkd.data import catalog
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from dkd.use import explain

from .conftest import SPEC


def network(sizes, seed):
    torch.manual_seed(seed)
    model = Segmenter(SPEC, sizes).eval()
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=3)
        torch.nn.init.normal_(head.bias, std=2)
    return model


def saved(model, folder, order):
    folder.mkdir()
    checkpoint.save(model, checkpoint.Step("shapes", order, model.sizes, catalog.SHAPES, "dkd", 0, SPEC), folder)
    return folder


IMAGE = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def test_terms_and_bias_add_up_to_the_logit():
    model = network((2, 1), 0)
    for channel, bias in enumerate(torch.cat([head.bias for head in model.heads]).tolist()):
        found = explain.maps(model, IMAGE, channel)
        positive, negative, logit = found.terms
        assert found.terms.shape == (3, 48, 64) and (positive >= 0).all() and (negative <= 0).all()
        assert np.allclose(positive + negative + bias, logit, atol=1e-4)
        assert (logit[found.decision] > 0).all()


def test_drift_is_the_mean_absolute_change_of_each_term():
    before = network((2,), 0)
    now = network((2, 1), 0)
    now.load_state_dict(before.state_dict(), strict=False)
    images = [IMAGE, IMAGE[:32, :32]]
    assert explain.drift(now, before, images) == pytest.approx(np.zeros((2, 3)), abs=1e-6)
    with torch.no_grad():
        now.heads[0].bias[1] += 0.5
    assert explain.drift(now, before, images) == pytest.approx(np.array([[0, 0, 0], [0, 0, 0.5]]), abs=1e-5)
    with torch.no_grad():
        # Twice the weights: every term moves by what it was.
        now.heads[0].weight[0] *= 2
    moved = explain.drift(now, before, [IMAGE])
    batch = explain.transforms.normalise(explain.transforms.channels_first(IMAGE))[None]
    with torch.no_grad():
        answer = before(batch)
    positive, negative, _ = explain._terms(answer)
    assert moved[0, 0] == pytest.approx(positive[0, 0].mean().item(), rel=1e-4)
    assert moved[0, 1] == pytest.approx(-negative[0, 0].mean().item(), rel=1e-4)


def test_the_command_draws_both_steps(tmp_path, monkeypatch):
    base = saved(network((2,), 0), tmp_path / "base", (3, 1))
    later = saved(network((2, 1), 1), tmp_path / "later", (3, 1, 6))
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    words = ["dkd", "explain", str(later), str(tmp_path / "a.png"), "--device", "cpu", "--class"]
    sizes = []
    for more, out in (([], "one.png"), (["--previous", str(base)], "two.png"), ([], "one.svg")):
        monkeypatch.setattr(sys, "argv", [*words, "disc", *more, "--out", str(tmp_path / out)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code
        if out.endswith("png"):
            sizes.append(Image.open(tmp_path / out).size)
    assert sizes[0][0] == sizes[1][0] and sizes[1][1] > 2 * sizes[0][1]
    assert "<svg" in (tmp_path / "one.svg").read_text()
    for name, more, said in (
        ("star", ["--previous", str(base)], "base knows triangle, disc; not 'star'"),
        ("ring", [], "later knows triangle, disc, star; not 'ring'"),
        ("background", [], "background is where no class speaks up"),
    ):
        monkeypatch.setattr(sys, "argv", [*words, name, *more, "--out", str(tmp_path / "no.png")])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert said in caught.value.code and not (tmp_path / "no.png").exists()


def test_large_pictures_are_brought_to_what_fits():
    assert explain.resized(np.zeros((3000, 4000, 3), dtype=np.uint8), None).shape == (768, 1024, 3)
    assert explain.resized(IMAGE, 24).shape == (24, 32, 3) and explain.resized(IMAGE, None) is IMAGE


def test_a_class_called_as_the_background_is_no_reason_to_fail():
    step = checkpoint.Step("x", (1,), (1,), ("other", "other things"), "dkd", 0, SPEC)
    assert explain.channel(step, "other things", "x") == 0
    with pytest.raises(InputError, match="no logit"):
        explain.channel(step, "other", "x")


def test_too_little_memory_is_one_line(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    model = network((2, 1), 0)
    monkeypatch.setattr(Segmenter, "forward", full)
    for ask in (lambda: explain.maps(model, IMAGE, 0), lambda: explain.drift(model, model, [IMAGE])):
        with pytest.raises(InputError, match=r"^out of memory: a picture of [0-9]+ x [0-9]+ at once; take a CPU, or "):
            ask()
