"""Sample predictions show the same test images after every step, with the drift of the logits."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dkd import checkpoint
from dkd.data import index, reader, shapes, transforms
from dkd.use import evidence, samples
from tests.dkd.conftest import RUNTIME

from .conftest import network, save


@pytest.fixture(scope="module")
def written(prepared, tmp_path_factory):
    """Folders of a base, the next step, and the samples of both."""
    top = tmp_path_factory.mktemp("samples")
    base, step = save(top / "base", (1, 2, 3, 4), (4,)), save(top / "step", (1, 2, 3, 4, 5), (4, 1), seed=1)
    outs = top / "base-samples", top / "step-samples"
    for out in outs:
        out.mkdir()
    samples.write(base, None, 0, prepared, RUNTIME, outs[0])
    samples.write(step, base, 1, prepared, RUNTIME, outs[1])
    return step, *outs


def test_images_are_the_same_after_every_step_and_drift_is_measured(written, prepared):
    step, *outs = written
    first, second = (json.loads((out / "panels.json").read_text()) for out in outs)
    assert [each["id"] for each in first["pictures"]] == [each["id"] for each in second["pictures"]]
    assert len(first["pictures"]) == samples.COUNT and first["drift"] is None
    assert {label for each in first["pictures"] for label in each["labels"]} == set(range(1, 7))
    assert set(second["drift"]["classes"]) == set(shapes.SHAPES[1:5]) and second["drift"]["pictures"] == 8
    assert all(value > 0 for terms in second["drift"]["classes"].values() for value in terms.values())
    row = next(row for row in index.read(prepared.index).rows if row.id == first["pictures"][0]["id"])
    truth, mask = (np.array(Image.open(place)) for place in (outs[0] / "0-truth.png", prepared.data / row.mask))
    assert (truth == mask).all()
    assert set(np.unique(Image.open(outs[1] / "0-found.png"))) <= {0, *checkpoint.describe(step).order}


def test_evidence_is_that_of_the_network_on_its_grid(written, prepared):
    step, _, out = written
    model, learned = checkpoint.load(step, "cpu")
    content = json.loads((out / "panels.json").read_text())
    assert content["evidence"] == evidence.WORDS["sigmoid"]
    table = index.read(prepared.index)
    for k, about in enumerate(content["pictures"]):
        facts, gray = about["evidence"], np.array(Image.open(out / f"{k}-evidence.png"), dtype=float)
        row = next(row for row in table.rows if row.id == about["id"])
        pixels = reader.read_image(prepared.data / row.image)
        with torch.no_grad():
            terms = evidence.all_terms(model(transforms.normalise(transforms.channels_first(pixels))[None]))
        positive, negative, logit = (term[0].numpy() for term in terms)
        height, width = facts["cells"]
        assert (height, width) == logit.shape[1:] and gray.shape == (height * 5, width * 2)
        channels = [learned.order.index(label) for label in facts["labels"]]
        assert sorted(channels) == list(range(5))
        for place, channel in enumerate(channels):
            part = gray[place * height : (place + 1) * height]
            found = part[:, :width] / 255 * facts["ends"][0], part[:, width:] / 255 * facts["ends"][1]
            for mine, true, end in zip(found, (positive, negative), facts["ends"], strict=True):
                assert np.abs(mine - true[channel]).max() <= abs(end) / 510 + 1e-4
            bias = logit[channel] - positive[channel] - negative[channel]
            assert np.allclose(bias, facts["biases"][place], atol=1e-3)
        areas = np.bincount(np.array(Image.open(out / f"{k}-found.png")).ravel(), minlength=256)
        assert [areas[label] for label in facts["labels"]] == sorted(areas[facts["labels"]], reverse=True)


def test_evidence_of_many_classes_on_a_fine_grid_is_kept_small():
    model = network((9,))
    pixels = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    # No pixel is assigned to a class: those that the image shows come first.
    with torch.no_grad():
        model.heads[0].bias -= 100
    found = evidence.grid(model, pixels, {3, 7}, 4, 3)
    assert set(found.channels[:2]) == {3, 7} and len(found.channels) == len(found.biases) == 4
    assert found.terms.shape == (2, 4, 3, 2)
    whole, means = (evidence.grid(model, pixels, set(), 9, side).terms for side in (99, 3))
    assert whole.shape == (2, 9, 6, 4) and np.allclose(whole[..., :2, :2].mean((2, 3)), means[..., 0, 0], rtol=1e-4)


def test_images_are_chosen_by_the_classes_that_they_add():
    shown = {"a": (1,), "b": (1, 2), "c": (3,), "d": (1, 2), "e": (1,)}
    rows = [index.Row(id, "", "", "val", classes) for id, classes in shown.items()]
    assert [row.id for row in samples.choose(rows, 3)] == ["b", "c", "d"]
    assert len(samples.choose(rows, 99)) == 5 and samples.choose([], 3) == []
