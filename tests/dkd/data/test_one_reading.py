"""Whatever a file holds, training, evaluation and prediction see the same pixels."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dkd import evaluation
from dkd.data import cache, reader, transforms
from dkd.data.index import Row
from dkd.training.data import read_task
from dkd.use import predict
from tests.dkd.conftest import prepare
from tests.dkd.use.conftest import save

ROOT = Path(__file__).parents[3]
SIDE = 32
"""Square, so that a rotation is not seen in the size."""


def exif(orientation):
    found = Image.Exif()
    found[reader.ORIENTATION] = orientation
    return {"exif": found}


def pixels():
    ramp = np.arange(SIDE, dtype=np.uint8) * 8
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp, np.uint8(40)), axis=-1)


def transparent():
    image = Image.fromarray(pixels()).convert("RGBA")
    image.putalpha(Image.fromarray(pixels()[..., 0]))
    return image


ODD = {
    "rotated.jpg": (lambda: Image.fromarray(pixels()), exif(6)),
    "upside.jpg": (lambda: Image.fromarray(pixels()), exif(3)),
    "rotated.tif": (lambda: Image.fromarray(pixels()), exif(8)),
    "rotated.webp": (lambda: Image.fromarray(pixels()), exif(5)),
    "deep.png": (lambda: Image.fromarray(pixels()[..., 1].astype(np.uint16) * 257), {}),
    "alpha.png": (transparent, {}),
    "print.jpg": (lambda: Image.fromarray(pixels()).convert("CMYK"), {"quality": 95}),
    "palette.png": (lambda: Image.fromarray(pixels()).quantize(16), {}),
    "gray.bmp": (lambda: Image.fromarray(pixels()[..., 1]), {}),
    "bits.png": (lambda: Image.fromarray(pixels()[..., 1] > 99), {}),
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A data set of such images, all of them for training and again, under other names, for validation."""
    place = tmp_path_factory.mktemp("odd")
    for folder in ("images", "masks", "splits"):
        (place / "data" / folder).mkdir(parents=True)
    for split in ("train", "val"):
        for name, (make, options) in ODD.items():
            path = Path(f"{split} {name.replace('.', ' ')}{Path(name).suffix}")
            make().save(place / "data" / "images" / path, **options)
            Image.fromarray((pixels()[..., 0] > 99).astype(np.uint8)).save(
                place / "data" / "masks" / f"{path.stem}.png"
            )
        ids = [f"{split} {name.replace('.', ' ')}" for name in ODD]
        (place / "data" / "splits" / f"{split}.txt").write_text("\n".join(ids))
    (place / "data" / "classes.txt").write_text("none\nbright\n")
    return prepare(place / "data", place, sizes=(1,), order=(1,))


def test_all_see_the_same_pixels(odd, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        evaluation, "predict", lambda _, batch: seen.append(batch[0]) or torch.zeros_like(batch[:, 0]).int()
    )
    predictor = predict.Predictor(save(tmp_path / "network", (1,), (1,)), "cpu", size=None, tile=1024, threads=1)
    samples = read_task(odd, 0).samples
    assert len(samples) == len(ODD)
    files = cache.ImageCache([(sample.image, sample.mask, sample.encoding) for sample in samples], 0)
    for number, sample in enumerate(samples):
        image, mask = files[number]
        assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8 and image.std() > 9
        row = Row("x", *(path.relative_to(odd.data).as_posix() for path in (sample.image, sample.mask)), "val", (1,))
        [(_, whole, labels)] = evaluation.EvalViews(odd.data, [row], sample.encoding, SIDE)[0]
        assert torch.equal(whole, transforms.channels_first(image)) and np.array_equal(labels, mask), sample.image
        predictor(sample.image)
        assert torch.equal(seen.pop(), transforms.normalise(transforms.channels_first(image))), sample.image


def test_orientations_are_those_of_the_upright_pixels(odd):
    upright = pixels().astype(int)
    for name, turn in (("rotated jpg.jpg", -1), ("upside jpg.jpg", 2), ("rotated tif.tif", 1)):
        found = reader.read_image(odd.data / "images" / f"train {name}").astype(int)
        assert np.abs(found - np.rot90(upright, turn)).mean() < 5, name
    assert np.array_equal(reader.read_image(odd.data / "images" / "train gray bmp.bmp")[..., 2], upright[..., 1])


def test_nothing_else_opens_images_of_a_data_set():
    """`convert` reads exports, and the page its own thumbnails."""
    opens = re.compile(r"\b(Image\.open|imread|read_file|decode_(jpeg|png|image))\(")
    found = {
        path.relative_to(ROOT / "src" / "dkd").as_posix()
        for path in (ROOT / "src").rglob("*.py")
        if opens.search(path.read_text())
    }
    assert found == {"data/reader.py", "convert/labelme.py", "convert/write.py", "report/page.py"}
