"""Images of any size are labelled as the network predicts, and the files that are written agree with that."""

import csv
import os
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from dkd import checkpoint, evaluation
from dkd.data import shapes, transforms
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from dkd.use import evidence, palette, predict
from dkd.use.images import ImageFile
from tests.dkd.command import SOURCE, CommandError, run
from tests.dkd.conftest import SPEC

from .conftest import save

ORDER = (3, 1, 6)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Three of six classes, in an order of their own."""
    return save(tmp_path_factory.mktemp("predict") / "checkpoint", ORDER, (2, 1))


def predictor(folder, size=None, tile=1024):
    return predict.Predictor(folder, "cpu", size=size, tile=tile, threads=1)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def seen(monkeypatch):
    """Shapes of the batches that the network is given."""
    shapes, original = [], evaluation.predict
    monkeypatch.setattr(
        evaluation, "predict", lambda model, batch: shapes.append(tuple(batch.shape)) or original(model, batch)
    )
    return shapes


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 300), (64, 64), (97, 61)])
def test_labels_are_those_of_the_data_set_at_full_size(learned, height, width):
    image = noise(height, width)
    labels = predictor(learned)(image)
    assert labels.shape == (height, width) and labels.dtype == np.uint8
    model, _ = checkpoint.load(learned, "cpu")
    ids = evaluation.predict(model, transforms.normalise(transforms.channels_first(image))[None])[0].numpy()
    assert (labels == np.array([0, *ORDER])[ids]).all()
    assert predictor(learned).names == shapes.SHAPES


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


def test_large_images_are_labelled_in_tiles(learned, seen, monkeypatch):
    image = noise(200, 150)
    predictor(learned, tile=96)(image)
    assert len(seen) == 3 * 2 and set(seen) == {(1, 3, 96, 96)}
    # Where each pixel is decided by itself, tiles and the whole image agree.
    monkeypatch.setattr(evaluation, "predict", lambda model, batch: (batch.mean(1) > 0).to(torch.uint8))
    assert (predictor(learned, tile=64)(image) == predictor(learned)(image)).all()


def test_size_scales_what_the_network_sees_not_the_labels(learned, seen):
    assert predictor(learned, size=32)(noise(64, 128)).shape == (64, 128)
    assert seen == [(1, 3, 32, 64)]


def test_the_command_writes_masks_overlays_and_areas_and_lists_unreadable_files(learned, tmp_path, monkeypatch, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "sub").mkdir(parents=True)
    Image.fromarray(noise(40, 50)).save(photos / "one.png")
    Image.fromarray(noise(30, 20)).save(photos / "sub" / "two.jpg")
    (photos / "bad.jpg").write_bytes(b"\xff\xd8 half an image")
    (photos / "notes.txt").write_text("notes")
    words = "predict", learned, photos, "--out", out, "--device", "cpu"
    with pytest.raises(AssertionError, match=r"bad\.jpg: image can't be read \(not an image\)\ndkd: 1 of 3 "):
        run(monkeypatch, *words)
    assert capsys.readouterr().out.startswith("2 ")
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert written == ["areas.csv", "masks/one.png", "masks/sub/two.png", "overlays/one.jpg", "overlays/sub/two.jpg"]
    with Image.open(out / "masks" / "one.png") as mask:
        assert mask.mode == "P" and mask.size == (50, 40)
        labels = np.array(mask)
        assert mask.getpalette()[:9] == [0, 0, 0, 230, 159, 0, 86, 180, 233]
    assert (labels == predictor(learned)(photos / "one.png")).all()
    with (out / "areas.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["picture"].endswith("one.png")]
    assert {int(row["label"]): int(row["pixels"]) for row in rows} == {
        int(label): int((labels == label).sum()) for label in np.unique(labels)
    }
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-5)
    assert all(row["class"] == shapes.SHAPES[int(row["label"])] for row in rows)
    with Image.open(out / "overlays" / "one.jpg") as shown:
        assert shown.height > 40, "the legend is below the image"
    with pytest.raises(AssertionError, match="out: exists already"):
        run(monkeypatch, *words)


@pytest.mark.parametrize("finished", [0, 2])
def test_a_stopped_prediction_lists_what_is_done(learned, tmp_path, monkeypatch, finished):
    for name in "abc":
        Image.fromarray(noise(20, 30)).save(tmp_path / f"{name}.png")
    original, left = evaluation.predict, [signal.SIGTERM, *[0] * finished]

    def stopped(model, batch):
        if number := left.pop():
            signal.raise_signal(number)
        return original(model, batch)

    monkeypatch.setattr(evaluation, "predict", stopped)
    with pytest.raises(CommandError) as caught:
        run(monkeypatch, "predict", learned, *(tmp_path / f"{name}.png" for name in "abc"), "--out", tmp_path / "out")
    assert caught.value.code == 143
    if finished:
        rows = (tmp_path / "out" / "areas.csv").read_text().splitlines()[1:]
        assert {row.split(",")[0] for row in rows} == {str(tmp_path / "a.png"), str(tmp_path / "b.png")}
        assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.png", "b.png"]
    else:
        assert not (tmp_path / "out").exists()


INTERRUPTED = """
import os, signal
from dkd import cli, evaluation
original, calls = evaluation.predict, []
def predict(model, batch):
    calls.append(1)
    if len(calls) == 3:
        os.killpg(0, signal.SIGINT)
    return original(model, batch)
evaluation.predict = predict
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.main()
"""


def test_ctrl_c_stops_all_processes_that_load_images(learned, tmp_path):
    """A terminal sends the signal to each of them."""
    (tmp_path / "photos").mkdir()
    for number in range(9):
        Image.fromarray(noise(20, 30)).save(tmp_path / "photos" / f"{number}.png")
    words = ["predict", learned, tmp_path / "photos", "--out", tmp_path / "out", "--workers", "2", "--device", "cpu"]
    command = [sys.executable, "-c", INTERRUPTED, *map(str, words)]
    env = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(command, env=env, capture_output=True, text=True, start_new_session=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["0.png", "1.png"]
    assert len((tmp_path / "out" / "areas.csv").read_text().splitlines()) > 2
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "out"}


def test_a_pipe_is_no_image(learned, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png: .*is not a regular file"):
        predictor(learned)(tmp_path / "pipe.png")


def test_masks_do_not_depend_on_the_number_of_workers(learned, tmp_path):
    for name in "ab":
        Image.fromarray(noise(20, 30, ord(name))).save(tmp_path / f"{name}.png")
    files = [ImageFile(tmp_path / f"{name}.png", name) for name in "ab"]
    for workers in (0, 2):
        assert predict.write(predictor(learned), files, tmp_path / f"out{workers}", workers).done == 2
    for name in "ab":
        first, second = (tmp_path / f"out{workers}" / "masks" / f"{name}.png" for workers in (0, 2))
        assert first.read_bytes() == second.read_bytes()


def test_a_folder_without_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"not a checkpoint, step\.json is missing"):
        predictor(tmp_path)


def test_many_labels_get_the_colours_of_the_voc_devkit():
    assert palette.colours(21)[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert palette.colours(21)[20] == (0, 64, 128) and palette.colours(21)[255] == (224, 224, 192)
    for labels in (7, 21, 151):
        assert len(set(palette.colours(labels)[:labels])) == labels


def test_too_little_memory_is_one_line(learned, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Segmenter, "forward", full)
    with pytest.raises(InputError, match=r"^out of memory: 64 x 50 pixels at once; use smaller tiles, or a CPU$"):
        predictor(learned, tile=64)(noise(50, 100))


def test_several_images_give_what_each_gives_alone(learned, seen):
    predict = predictor(learned)
    first, second, other = noise(40, 50, 0), noise(40, 50, 1), noise(20, 30, 2)
    alone = [predict(image) for image in (first, other, second)]
    seen.clear()
    together = predict([first, Image.fromarray(other), torch.from_numpy(second).movedim(-1, 0)])
    assert seen == [(2, 3, 40, 50), (1, 3, 20, 30)], "images of one size pass the network together"
    # The sums of a convolution can come in another order: a pixel in a thousand may stand on the border.
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.shape == theirs.shape and (ours == theirs).mean() > 0.999
    stacked = predict(np.stack([first, second]))
    assert stacked.shape == (2, 40, 50) and (stacked == np.stack(together[::2])).all()
    assert predict([]) == [] and predict([first])[0].shape == (40, 50)


@pytest.mark.parametrize("head", ["sigmoid", "softmax", "unknown"])
def test_scores_are_probabilities_that_decide(tmp_path, head):
    predict = predictor(save(tmp_path / "net", ORDER, (2, 1), spec={**SPEC, "head": head}))
    if head == "unknown":
        # Otherwise the two win everywhere together.
        for other in (predict.model.background, predict.model.unknown):
            torch.nn.init.constant_(other.bias, -2)
    image = noise(40, 50)
    scores, labels = predict.scores(image), predict(image)
    assert predict.learned == ("triangle", "disc", "star")
    assert scores.shape == (3, 40, 50) and scores.dtype == np.float32 and 0 <= scores.min() <= scores.max() <= 1
    best = np.array(ORDER)[scores.argmax(0)]
    if head == "sigmoid":
        assert np.array_equal(labels, np.where(scores.max(0) > 0.5, best, 0))
    elif head == "softmax":
        rest = 1 - scores.sum(0)
        assert rest.min() > -1e-5 and np.array_equal(labels, np.where(scores.max(0) > rest, best, 0))
    else:
        assert (labels != 0).any() and np.array_equal(labels[labels != 0], best[labels != 0])
    assert predict.scores([image, image[:20]])[1].shape == (3, 20, 50)


def test_evidence_adds_up_and_is_that_of_explain(learned):
    predict, image = predictor(learned), noise(40, 50)
    bias = torch.cat([head.bias for head in predict.model.heads])[2].item()
    found = predict.evidence(image, "star")
    assert (found.positive >= 0).all() and (found.negative <= 0).all() and found.logit.shape == (40, 50)
    assert np.allclose(found.positive + found.negative + bias, found.logit, atol=1e-4)
    assert np.array_equal(np.stack(found), evidence.maps(predict.model, image, 2).terms)
    assert np.allclose(1 / (1 + np.exp(-found.logit)), predict.scores(image)[2], atol=1e-6)
    with pytest.raises(InputError, match="has not learned 'ring', only triangle, disc, star"):
        predict.evidence(image, "ring")


def test_maps_have_the_size_of_the_image_whatever_the_network_sees(learned, seen):
    scaled = predictor(learned, size=32, tile=64)
    assert scaled.scores(noise(64, 200)).shape == (3, 64, 200)
    assert scaled.evidence(noise(64, 200), "disc").positive.shape == (64, 200)
    tiled = predictor(learned, tile=64)
    assert np.array_equal(tiled(noise(90, 150)), labels_of(tiled.scores(noise(90, 150))))


def labels_of(scores):
    return np.where(scores.max(0) > 0.5, np.array(ORDER)[scores.argmax(0)], 0)
