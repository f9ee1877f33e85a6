"""Pictures of any size are labelled as the network says, and what comes out says what was there."""

import csv
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from dkd import checkpoint, cli, evaluate
from dkd.data import catalog, transforms
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from dkd.use import palette, predict

from .conftest import SPEC

ORDER = (3, 1, 6)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """An untrained network that has learned three of six classes, in an order of its own."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    model = Segmenter(SPEC, (2, 1))
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=5)
    checkpoint.save(model, checkpoint.Step("shapes", ORDER, (2, 1), catalog.SHAPES, "dkd", 0, SPEC), folder)
    return folder


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 300), (64, 64), (97, 61)])
def test_labels_are_the_data_sets_at_the_pictures_size(learned, height, width):
    predictor = predict.Predictor(learned, "cpu")
    image = noise(height, width)
    labels = predictor(image)
    assert labels.shape == (height, width) and labels.dtype == np.uint8
    model, _ = checkpoint.load(learned)
    ids = evaluate.predict(model, transforms.normalise(transforms.channels_first(image))[None])[0].numpy()
    assert (labels == np.array([0, *ORDER])[ids]).all()
    assert predictor.names == catalog.SHAPES


@pytest.mark.parametrize("tile", [8, 64, 100, 1024])
@pytest.mark.parametrize("length", [1, 63, 64, 65, 99, 100, 101, 1000, 5000])
def test_tiles_cover_every_pixel_once_and_overlap(length, tile):
    spans = predict.spans(length, tile)
    taken = [pixel for *_, begin, end in spans for pixel in range(begin, end)]
    assert taken == list(range(length))
    assert all(0 <= begin <= a < b <= end <= length and end - begin <= tile for begin, end, a, b in spans)
    for (_, end, *_), (begin, *_) in pairwise(spans):
        assert end - begin >= tile // predict.OVERLAP
    assert len(spans) == 1 if length <= tile else len(spans) > 1


def test_tiles_agree_with_the_whole_away_from_their_edges(learned, monkeypatch):
    image = noise(200, 150)
    seen = []
    answer = evaluate.predict
    monkeypatch.setattr(evaluate, "predict", lambda model, batch: seen.append(batch.shape) or answer(model, batch))
    predict.Predictor(learned, "cpu", tile=96)(image)
    assert len(seen) == 3 * 2 and {tuple(shape) for shape in seen} == {(1, 3, 96, 96)}

    def bright(model, batch):
        return (batch.mean(1) > 0).to(torch.uint8)

    # A network that looks at each pixel alone can't tell tiles from the whole.
    monkeypatch.setattr(evaluate, "predict", bright)
    assert (predict.Predictor(learned, "cpu", tile=64)(image) == predict.Predictor(learned, "cpu")(image)).all()


def test_a_size_is_what_the_network_sees_not_what_comes_out(learned, monkeypatch):
    seen = []
    answer = evaluate.predict
    monkeypatch.setattr(evaluate, "predict", lambda model, batch: seen.append(batch.shape) or answer(model, batch))
    labels = predict.Predictor(learned, "cpu", size=32)(noise(64, 128))
    assert labels.shape == (64, 128) and tuple(seen[0]) == (1, 3, 32, 64)


def test_the_command_labels_folders_and_tells_of_broken_files(learned, tmp_path, monkeypatch, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "sub").mkdir(parents=True)
    Image.fromarray(noise(40, 50)).save(photos / "one.png")
    Image.fromarray(noise(30, 20)).save(photos / "sub" / "two.jpg")
    (photos / "bad.jpg").write_bytes(b"\xff\xd8 half a picture")
    (photos / "notes.txt").write_text("notes")
    words = ["dkd", "predict", str(learned), str(photos), "--out", str(out), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert "bad.jpg: not a picture" in caught.value.code and "1 of 3 images could not be read" in caught.value.code
    said = capsys.readouterr().out
    assert said.startswith("2 images in ") and "images/s" in said and "1 other files skipped" in said
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert written == ["areas.csv", "masks/one.png", "masks/sub/two.png", "overlays/one.jpg", "overlays/sub/two.jpg"]
    with Image.open(out / "masks" / "one.png") as mask:
        assert mask.mode == "P" and mask.size == (50, 40)
        labels = np.array(mask)
        assert mask.getpalette()[:9] == [0, 0, 0, 230, 159, 0, 86, 180, 233]
    assert (labels == predict.Predictor(learned, "cpu")(photos / "one.png")).all()
    with (out / "areas.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["picture"].endswith("one.png")]
    assert {int(row["label"]): int(row["pixels"]) for row in rows} == {
        int(label): int((labels == label).sum()) for label in np.unique(labels)
    }
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-5)
    assert all(row["class"] == catalog.SHAPES[int(row["label"])] for row in rows)
    with Image.open(out / "overlays" / "one.jpg") as shown:
        assert shown.height > 40, "a legend below"
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert "out: exists already" in caught.value.code


def test_workers_give_the_same(learned, tmp_path):
    for name in "ab":
        Image.fromarray(noise(20, 30, ord(name))).save(tmp_path / f"{name}.png")
    found = [predict.Photo(tmp_path / f"{name}.png", name) for name in "ab"]
    predictor = predict.Predictor(learned, "cpu")
    for workers in (0, 2):
        assert predict.write(predictor, found, tmp_path / f"out{workers}", workers).done == 2
    for name in "ab":
        assert (tmp_path / "out0/masks" / f"{name}.png").read_bytes() == (
            tmp_path / "out2/masks" / f"{name}.png"
        ).read_bytes()


def test_no_checkpoint_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"not a checkpoint, step\.json is missing"):
        predict.Predictor(tmp_path, "cpu")


def test_colours_are_those_that_tools_know():
    assert palette.colours(21)[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert palette.colours(21)[20] == (0, 64, 128) and palette.colours(21)[255] == (224, 224, 192)
    for labels in (7, 21, 151):
        assert len(set(palette.colours(labels)[:labels])) == labels


def test_too_little_memory_is_one_line(learned, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    predictor = predict.Predictor(learned, "cpu", tile=64)
    monkeypatch.setattr(Segmenter, "forward", full)
    with pytest.raises(InputError, match=r"^out of memory: 64 x 50 pixels at once; take smaller tiles, or a CPU$"):
        predictor(noise(50, 100))
