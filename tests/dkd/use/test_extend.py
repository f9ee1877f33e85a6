"""A trained network learns new classes from images of another data set with labels of its own."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dkd import checkpoint
from dkd.data import catalog, classes, index, shapes, tasks
from dkd.errors import InputError
from dkd.use import extend
from tests.dkd.command import SETTINGS, run
from tests.dkd.conftest import SPEC

from .conftest import network, save
from .test_released import convert, published


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Knows disc, square, triangle and cross, of a data set that also has ring and star."""
    return save(tmp_path_factory.mktemp("extend") / "base", (1, 2, 3, 4), (4,))


@pytest.fixture
def photos(drawn, tmp_path):
    """Labels 1 comet (drawn as a star), 2 disc and 3 ring; no other class is labelled."""
    root = shutil.copytree(drawn, tmp_path / "photos")
    (root / "classes.txt").write_text("nothing\ncomet\ndisc\nring\n")
    table = np.zeros(256, dtype=np.uint8)
    table[[6, 1, 5, 255]] = [1, 2, 3, 255]
    for path in (root / "masks").iterdir():
        Image.fromarray(table[np.array(Image.open(path))]).save(path)
    return root


def prepare(base, root, out):
    out.mkdir()
    return extend.prepare(base, root, catalog.contents("folder", root, None, listed=True), None, out)


def test_new_classes_are_appended_and_both_kinds_can_be_evaluated(base, drawn, photos, tmp_path, monkeypatch, capsys):
    more = tmp_path / "more"
    run(monkeypatch, "extend", base, "--data", photos, "--out", more, *SETTINGS)
    _, learned = checkpoint.load(more, "cpu")
    # ring keeps its label of the old data set, comet gets the next free one; disc is not new.
    assert learned.class_names[-2:] == ("star", "comet")
    assert learned.order == (1, 2, 3, 4, 7, 5) and learned.sizes == (4, 2)
    shown = {row.id: set(row.classes) for row in index.read(more / "index.csv").rows}
    assert set().union(*shown.values()) == {7, 1, 5}
    ids = tasks.read(more / "tasks.json")["steps"][1]["train"]
    assert ids and all(shown[id] & {7, 5} for id in ids)

    files = ["--index", more / "index.csv", "--tasks", more / "tasks.json"]
    run(monkeypatch, "evaluate", more, "--data", photos, *files, "--out", tmp_path / "new", *SETTINGS)
    run(monkeypatch, "evaluate", more, "--data", drawn, "--out", tmp_path / "old", *SETTINGS)
    names = ["background", "disc", "square", "triangle", "cross", "comet", "ring"]
    for name in ("new", "old"):
        found = json.loads((tmp_path / name / "metrics.json").read_text())["protocols"]["paper"]["per_class"]
        assert list(found) == names
    masks = np.stack([np.array(Image.open(path)) for path in sorted((drawn / "masks").glob("val_*"))])
    pixels = np.bincount(masks.ravel(), minlength=256)
    with np.load(tmp_path / "old" / "confusion.npz") as counts:
        counted = dict(zip(names, counts["full_image"].sum(1).tolist(), strict=True))
    assert [counted[name] for name in (*names[1:5], "ring", "comet")] == [*pixels[1:6], 0]


def test_training_starts_from_the_weights_of_the_checkpoint(base, photos, tmp_path, monkeypatch):
    words = "--out", tmp_path / "more", "--method", "finetune", "--set", "increment.lr=1e-12"
    run(monkeypatch, "extend", base, "--data", photos, *words, *SETTINGS)
    before, after = (checkpoint.load(folder, "cpu")[0].state_dict() for folder in (base, tmp_path / "more"))
    assert all(np.allclose(after[name], value, atol=1e-6) for name, value in before.items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("nothing cross disc square", "has learned all of these classes"),
        ("nothing background disc square", "has learned all of these classes"),
        ("nothing cross disc square unseen", "no training image shows unseen"),
        (
            " ".join(f"c{k}" for k in range(255)),
            r"classes with those of .*; a mask can hold 254",
        ),
        # Label 3 is not in this list; it is never the triangle of the checkpoint.
        ("nothing comet disc", r"masks/.*png: label 3 is outside the class list \(0..2, 255 = void\)"),
    ],
)
def test_class_lists_that_add_nothing_or_too_much_are_refused(base, photos, tmp_path, names, message):
    (photos / "classes.txt").write_text("\n".join(names.split()))
    with pytest.raises(InputError, match=message):
        prepare(base, photos, tmp_path / "out")


def test_methods_with_replay_are_refused(base, photos, tmp_path, monkeypatch):
    with pytest.raises(AssertionError, match=r"--method: 'dkd-m'"):
        run(monkeypatch, "extend", base, "--data", photos, "--out", tmp_path / "out", "--method", "dkd-m")
    assert not (tmp_path / "out").exists()


def test_a_class_named_like_the_background_is_background(base, photos, tmp_path):
    (photos / "classes.txt").write_text("nothing\ncomet\nbackground\nring\n")
    (_, table, content), _ = prepare(base, photos, tmp_path / "out")
    assert tasks.read(content)["order"] == [1, 2, 3, 4, 7, 5]
    assert set().union(*(row.classes for row in index.read(table).rows)) == {7, 5}
    assert classes.value_to_label(index.read(table).stored)[:4].tolist() == [0, 7, 0, 5]


def test_a_released_network_can_be_extended(photos, tmp_path, monkeypatch):
    model = network((4, 1, 1))
    torch.save({"state_dict": published(model)}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "old", class_names=shapes.SHAPES, order=(1, 2, 3, 4, 5, 6), sizes=(4, 1, 1))
    run(monkeypatch, "extend", tmp_path / "old", "--data", photos, "--out", tmp_path / "more", *SETTINGS)
    extended, learned = checkpoint.load(tmp_path / "more", "cpu")
    assert learned.order == (1, 2, 3, 4, 5, 6, 7) and learned.sizes == (4, 1, 1, 1)
    assert learned.class_names == (*shapes.SHAPES, "comet") and learned.dataset == "x"
    before, after = model.state_dict(), extended.state_dict()
    assert before.keys() < after.keys() and not torch.equal(after["last_conv.0.weight"], before["last_conv.0.weight"])


def test_a_network_with_a_softmax_is_extended_by_methods_with_a_softmax(photos, tmp_path, monkeypatch):
    folder, spec = tmp_path / "soft", {**SPEC, "head": "softmax"}
    folder.mkdir()
    step = checkpoint.Step("shapes", (1, 2, 3, 4), (4,), shapes.SHAPES, "joint-softmax", 0, spec)
    checkpoint.save(network((4,), spec=spec), step, {}, folder)
    words = "extend", folder, "--data", photos, *SETTINGS
    run(monkeypatch, *words, "--method", "mib", "--out", tmp_path / "more")
    model, learned = checkpoint.load(tmp_path / "more", "cpu")
    assert model.sizes == (4, 2) and learned.method == "mib" and model.head == "softmax"
    with pytest.raises(AssertionError, match="trained with a softmax, those of dkd are with sigmoids"):
        run(monkeypatch, *words, "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()
