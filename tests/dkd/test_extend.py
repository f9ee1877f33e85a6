"""Classes added to a network in use, from pictures of another data set with labels of its own."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dkd import checkpoint
from dkd.data import catalog, classes, index, shapes, tasks
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from dkd.use import extend
from tests.dkd.conftest import SPEC, prepare, train_base
from tests.dkd.test_cli import SETTINGS, run
from tests.dkd.test_released import convert, published


@pytest.fixture(scope="module")
def base(drawn, tmp_path_factory):
    """A network that has learned disc, square, triangle and cross, of a data set that also names ring and star."""
    folder = tmp_path_factory.mktemp("extend")
    train_base(prepare(drawn, folder), folder / "base")
    return folder / "base"


@pytest.fixture
def photos(drawn, tmp_path):
    """Pictures of somebody else: label 1 is a comet (a star here), 2 a disc, 3 a ring, and nothing else is labelled."""
    root = shutil.copytree(drawn, tmp_path / "photos")
    (root / "classes.txt").write_text("nothing\ncomet\ndisc\nring\n")
    table = np.zeros(256, dtype=np.uint8)
    table[[6, 1, 5, 255]] = [1, 2, 3, 255]
    for path in (root / "masks").iterdir():
        Image.fromarray(table[np.array(Image.open(path))]).save(path)
    return root


def test_new_classes_come_after_the_old_ones(base, drawn, photos, tmp_path, monkeypatch, capsys):
    settings = [word for word in SETTINGS if word not in ("--preset", "shapes")]
    run(monkeypatch, "extend", base, "--data", photos, "--out", tmp_path / "more", *settings)
    _, learned = checkpoint.load(tmp_path / "more")
    # ring had a label in the old data set, comet gets the next one; disc is nothing new.
    assert learned.class_names[-2:] == ("star", "comet")
    assert learned.order == (1, 2, 3, 4, 7, 5) and learned.sizes == (4, 2)
    content = tasks.read(tmp_path / "more" / "tasks.json")
    table = index.read(tmp_path / "more" / "index.csv")
    shown = {row.id: set(row.classes) for row in table.rows}
    assert set().union(*shown.values()) == {7, 1, 5}
    ids = content["steps"][1]["train"]
    assert ids and all(shown[id] & {7, 5} for id in ids)
    # It goes on: the next step starts from what this one gave, and both can be judged, on old pictures too.
    capsys.readouterr()
    files = ["--index", tmp_path / "more" / "index.csv", "--tasks", tmp_path / "more" / "tasks.json"]
    run(monkeypatch, "evaluate", tmp_path / "more", "--data", photos, *files, "--out", tmp_path / "new", *settings)
    run(monkeypatch, "evaluate", tmp_path / "more", "--data", drawn, "--out", tmp_path / "old", *settings)
    assert capsys.readouterr().out.count("paper: all ") == 2
    names = ["background", "disc", "square", "triangle", "cross", "comet", "ring"]
    for name in ("new", "old"):
        found = json.loads((tmp_path / name / "metrics.json").read_text())["protocols"]["paper"]["per_class"]
        assert list(found) == names
    masks = np.stack([np.array(Image.open(path)) for path in sorted((drawn / "masks").glob("val_*"))])
    pixels = np.bincount(masks.ravel(), minlength=256)
    with np.load(tmp_path / "old" / "confusion.npz") as counts:
        shown = dict(zip(names, counts["full_image"].sum(1).tolist(), strict=True))
    assert [shown[name] for name in (*names[1:5], "ring", "comet")] == [*pixels[1:6], 0]


def test_the_old_weights_are_where_it_starts(base, photos, tmp_path, monkeypatch):
    settings = [word for word in SETTINGS if word not in ("--preset", "shapes")]
    still = ["--set", "increment.lr=1e-12", *settings]
    run(monkeypatch, "extend", base, "--data", photos, "--out", tmp_path / "more", "--method", "finetune", *still)
    before, after = checkpoint.load(base)[0].state_dict(), checkpoint.load(tmp_path / "more")[0].state_dict()
    assert all(np.allclose(after[name], value, atol=1e-6) for name, value in before.items())


def place(base, root, out):
    out.mkdir()
    return extend.prepare(base, root, catalog.class_names("folder", root), catalog.list_files("folder", root), {}, out)


def test_what_adds_nothing_is_refused(base, photos, tmp_path, monkeypatch):
    (photos / "classes.txt").write_text("nothing\ncross\ndisc\nsquare\n")
    with pytest.raises(InputError, match="all of its classes have been learned"):
        place(base, photos, tmp_path / "a")
    (photos / "classes.txt").write_text("nothing\ncross\ndisc\nsquare\nunseen\n")
    with pytest.raises(InputError, match="no training picture shows unseen"):
        place(base, photos, tmp_path / "b")
    (photos / "classes.txt").write_text("\n".join(f"c{k}" for k in range(255)))
    with pytest.raises(InputError, match=r"classes with those of .*; a mask can hold 254"):
        place(base, photos, tmp_path / "c")
    with pytest.raises(AssertionError, match=r"--method: 'dkd-m' can't go on from a checkpoint alone"):
        run(monkeypatch, "extend", base, "--data", photos, "--out", tmp_path / "d", "--method", "dkd-m")
    assert not (tmp_path / "d").exists()


def test_a_label_outside_the_new_class_list_is_refused(base, photos, tmp_path):
    """Label 3 is of these pictures' own list or of none; it is never the checkpoint's triangle."""
    (photos / "classes.txt").write_text("nothing\ncomet\ndisc\n")
    with pytest.raises(InputError, match=r"masks/.*png: label 3 is outside the class list \(0..2, 255 = void\)"):
        place(base, photos, tmp_path / "a")


def test_what_is_called_like_background_is_background(base, photos, tmp_path):
    (photos / "classes.txt").write_text("nothing\ncomet\nbackground\nring\n")
    (_, table, content), _ = place(base, photos, tmp_path / "a")
    assert tasks.read(content)["order"] == [1, 2, 3, 4, 7, 5]
    assert set().union(*(row.classes for row in index.read(table).rows)) == {7, 5}
    assert classes.value_to_label(index.read(table).stored)[:4].tolist() == [0, 7, 0, 5]
    (photos / "classes.txt").write_text("nothing\nbackground\ndisc\nsquare\n")
    with pytest.raises(InputError, match="all of its classes have been learned"):
        place(base, photos, tmp_path / "b")


def test_a_published_network_goes_on_like_any_other(photos, tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = Segmenter(SPEC, [4, 1, 1])
    torch.save({"state_dict": published(network)}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "old", class_names=shapes.SHAPES, order=(1, 2, 3, 4, 5, 6), sizes=(4, 1, 1))
    settings = [word for word in SETTINGS if word not in ("--preset", "shapes")]
    run(monkeypatch, "extend", tmp_path / "old", "--data", photos, "--out", tmp_path / "more", *settings)
    model, learned = checkpoint.load(tmp_path / "more")
    assert learned.order == (1, 2, 3, 4, 5, 6, 7) and learned.sizes == (4, 1, 1, 1)
    assert learned.class_names == (*shapes.SHAPES, "comet") and learned.dataset == "x"
    kept, moved = network.state_dict(), model.state_dict()
    assert kept.keys() < moved.keys() and not torch.equal(moved["last_conv.0.weight"], kept["last_conv.0.weight"])
    assert {**learned.model, "pretrained": False} == SPEC
