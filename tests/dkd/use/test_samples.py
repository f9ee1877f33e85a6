"""Sample predictions show the same test images after every step, with the drift of the logits."""

import json

import numpy as np
import pytest
from PIL import Image

from dkd import checkpoint
from dkd.data import index, shapes
from dkd.use import samples
from tests.dkd.conftest import RUNTIME

from .conftest import save


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


def test_images_are_chosen_by_the_classes_that_they_add():
    shown = {"a": (1,), "b": (1, 2), "c": (3,), "d": (1, 2), "e": (1,)}
    rows = [index.Row(id, "", "", "val", classes) for id, classes in shown.items()]
    assert [row.id for row in samples.choose(rows, 3)] == ["b", "c", "d"]
    assert len(samples.choose(rows, 99)) == 5 and samples.choose([], 3) == []
