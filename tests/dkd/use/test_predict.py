"""Images of any size are labelled as the network predicts, and the files that are written agree with that."""

import os
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


def test_images_larger_than_those_of_the_training_are_scaled_down_to_them(learned, seen, tmp_path):
    model, step = checkpoint.load(learned, "cpu")
    checkpoint.save(model, step._replace(side=40), {}, tmp_path)
    sizes = [(80, 160), (39, 160)]
    for size in (None, "full", 60):
        assert [labels.shape for labels in predictor(tmp_path, size)([noise(*each) for each in sizes])] == sizes
    small, first = (1, 3, 39, 160), [(1, 3, 40, 80), (1, 3, 80, 160), (1, 3, 60, 120)]
    assert seen == [first[0], small, first[1], small, first[2], (1, 3, 60, 246)]


@pytest.mark.parametrize("size", [0, -3, "large", 2.5])
def test_what_is_no_size_is_refused(learned, size):
    with pytest.raises(InputError, match=r"^size: .* is neither a positive number of pixels nor 'full'$"):
        predictor(learned, size)


def test_a_pipe_is_no_image(learned, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png: .*is not a regular file"):
        predictor(learned)(tmp_path / "pipe.png")


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
