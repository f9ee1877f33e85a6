"""The maps are the terms that the method distils, and they add up to the logit."""

import numpy as np
import pytest
import torch
from PIL import Image

from dkd import checkpoint
from dkd.data import shapes, transforms
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from dkd.use import evidence, explain
from dkd.use.predict import Predictor
from tests import plain
from tests.dkd.command import run
from tests.dkd.conftest import SPEC

from .conftest import network, save

IMAGE = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def test_terms_and_bias_add_up_to_the_logit():
    model = network((2, 1))
    for channel, bias in enumerate(torch.cat([head.bias for head in model.heads]).tolist()):
        found = evidence.maps(model, IMAGE, channel)
        positive, negative, logit = found.terms
        assert found.terms.shape == (3, 48, 64) and (positive >= 0).all() and (negative <= 0).all()
        assert np.allclose(positive + negative + bias, logit, atol=1e-4)
        assert (logit[found.decision] > 0).all()


def test_with_a_softmax_the_highest_logit_decides_and_the_figure_says_so(tmp_path, monkeypatch):
    folder, spec = tmp_path / "soft", {**SPEC, "head": "softmax"}
    model, pixels = network((2, 1), spec=spec), transforms.normalise(transforms.channels_first(IMAGE))[None]
    with torch.no_grad():
        # Every channel wins somewhere.
        means = iter(model(pixels).channels.mean((0, 2, 3)).split(1))
        for head in model.heads:
            head.bias -= torch.cat([next(means) for _ in head.bias])
        output = model(pixels)
    folder.mkdir()
    checkpoint.save(model, checkpoint.Step("shapes", (3, 1, 6), (2, 1), shapes.SHAPES, "mib", 0, spec), {}, folder)
    winner = plain.upsample(output.channels, output.size)[0].argmax(0)
    assert len(winner.unique()) > 2
    biases = torch.cat([head.bias for head in model.heads]).tolist()[1:]
    for channel, bias in enumerate(biases):
        found = evidence.maps(model, IMAGE, channel)
        assert np.allclose(found.terms[:2].sum(0) + bias, found.terms[2], atol=1e-4)
        assert np.array_equal(found.decision, winner.numpy() == channel + 1)
    assert np.array_equal(
        Predictor(folder, "cpu", size=None, tile=64, threads=1)(IMAGE), np.array([0, 3, 1, 6])[winner]
    )
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    words = "explain", folder, tmp_path / "a.png", "--device", "cpu", "--class", "disc", "--out", tmp_path / "a.svg"
    run(monkeypatch, *words)
    assert "which decides by its distance to the logits of background" in (tmp_path / "a.svg").read_text()


def test_with_an_unknown_class_the_highest_sigmoid_decides_and_the_figure_says_so(tmp_path, monkeypatch):
    folder, spec = tmp_path / "unknown", {**SPEC, "head": "unknown"}
    model, pixels = network((2, 1), spec=spec), transforms.normalise(transforms.channels_first(IMAGE))[None]
    with torch.no_grad():
        # Every channel wins somewhere, background not because of what is unknown alone.
        output = model(pixels)
        for classifier, logits in zip(model.heads, output.logits, strict=True):
            classifier.bias -= logits.mean((0, 2, 3)) - 0.5
        model.background.bias -= output.background.mean()
        model.unknown.bias -= output.unknown.mean() + 2
        output = model(pixels)
    scores = plain.upsample(output.channels, output.size)[0].sigmoid()
    winner = torch.cat(((scores[0] + scores[1])[None], scores[2:])).argmax(0)
    assert len(winner.unique()) > 2
    folder.mkdir()
    checkpoint.save(model, checkpoint.Step("shapes", (3, 1, 6), (2, 1), shapes.SHAPES, "ssul", 0, spec), {}, folder)
    for channel in range(3):
        assert np.array_equal(explain.maps(model, IMAGE, channel).decision, winner.numpy() == channel + 1)
    labels = Predictor(folder, "cpu", size=None, tile=64, threads=1)(IMAGE)
    assert np.array_equal(labels, np.array([0, 3, 1, 6])[winner])
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    words = "explain", folder, tmp_path / "a.png", "--device", "cpu", "--class", "disc", "--out", tmp_path / "a.svg"
    run(monkeypatch, *words)
    assert "which decides where it is above those of background and other" in (tmp_path / "a.svg").read_text()


def test_drift_is_the_mean_absolute_change_of_each_term():
    before, now = network((2,)), network((2, 1))
    now.load_state_dict(before.state_dict(), strict=False)
    images = [IMAGE, IMAGE[:32, :32]]
    assert evidence.drift(now, before, images) == pytest.approx(np.zeros((2, 3)), abs=1e-6)
    with torch.no_grad():
        now.heads[0].bias[1] += 0.5
    assert evidence.drift(now, before, images) == pytest.approx(np.array([[0, 0, 0], [0, 0, 0.5]]), abs=1e-5)
    with torch.no_grad():
        # With twice the weights, every term changes by its former value.
        now.heads[0].weight[0] *= 2
        output = before(transforms.normalise(transforms.channels_first(IMAGE))[None])
    moved = evidence.drift(now, before, [IMAGE])
    positive, negative, _ = evidence.all_terms(output)
    assert moved[0, 0] == pytest.approx(positive[0, 0].mean().item(), rel=1e-4)
    assert moved[0, 1] == pytest.approx(-negative[0, 0].mean().item(), rel=1e-4)


def test_the_command_draws_one_or_two_steps(tmp_path, monkeypatch):
    base = save(tmp_path / "base", (3, 1), (2,))
    later = save(tmp_path / "later", (3, 1, 6), (2, 1), seed=1)
    Image.fromarray(IMAGE).save(tmp_path / "a.png")

    def call(name, out, *more):
        words = "explain", later, tmp_path / "a.png", "--device", "cpu", "--class", name, *more
        run(monkeypatch, *words, "--out", tmp_path / out)

    call("disc", "one.png")
    call("disc", "two.png", "--previous", base)
    one, two = (Image.open(tmp_path / name).size for name in ("one.png", "two.png"))
    assert one[0] == two[0] and two[1] > 2 * one[1]
    call("disc", "two.npz", "--previous", base)
    with np.load(tmp_path / "two.npz") as arrays:
        for prefix, folder in (("", later), ("previous_", base)):
            terms, decision = evidence.maps(checkpoint.load(folder, "cpu")[0], IMAGE, 1)
            saved = [arrays[f"{prefix}{name}"] for name in ("positive", "negative", "logit")]
            assert np.allclose(saved, terms) and np.array_equal(arrays[f"{prefix}decision"], decision)
        assert len(arrays) == 8
    call("disc", "one.svg")
    assert "<svg" in (tmp_path / "one.svg").read_text()
    for name, more, message in (
        ("star", ("--previous", base), "base has not learned 'star', only triangle, disc"),
        ("ring", (), "later has not learned 'ring', only triangle, disc, star"),
        ("background", (), "'background' is background, which is not explained"),
    ):
        with pytest.raises(AssertionError, match=message):
            call(name, "no.png", *more)
        assert not (tmp_path / "no.png").exists()


def test_large_images_are_scaled_down():
    assert explain.resized(np.zeros((3000, 4000, 3), dtype=np.uint8), None, None).shape == (768, 1024, 3)
    assert explain.resized(IMAGE, 24, None).shape == (24, 32, 3) and explain.resized(IMAGE, None, None) is IMAGE
    assert explain.resized(IMAGE, None, 24).shape == (24, 32, 3) and explain.resized(IMAGE, None, 4000) is IMAGE
    assert explain.resized(IMAGE, 48, 24).shape == (48, 64, 3)


def test_a_class_may_have_a_name_like_that_of_the_background():
    step = checkpoint.Step("x", (1,), (1,), ("other", "other things"), "dkd", 0, SPEC)
    assert evidence.channel(step, "other things", "x") == 0
    with pytest.raises(InputError, match="is not explained"):
        evidence.channel(step, "other", "x")


def test_too_little_memory_is_one_line(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    model = network((2, 1))
    monkeypatch.setattr(Segmenter, "forward", full)
    for call in (lambda: evidence.maps(model, IMAGE, 0), lambda: evidence.drift(model, model, [IMAGE])):
        with pytest.raises(InputError, match=r"^out of memory: an image of 64 x 48 pixels at once; use a CPU, or "):
            call()
