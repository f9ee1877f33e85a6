"""An image is the same in whatever form it is given; what is no image is refused in one line."""

import numpy as np
import pytest
import torch
from PIL import Image

from dkd.errors import InputError
from dkd.use import pixels

IMAGE = np.random.default_rng(2).integers(0, 256, (9, 7, 3), dtype=np.uint8)
GRAY = IMAGE[..., 0]
FORMS = {
    "Pillow": Image.fromarray(IMAGE),
    "Pillow with alpha": Image.fromarray(np.dstack([IMAGE, np.full((9, 7), 255, dtype=np.uint8)])),
    "array": IMAGE,
    "array of floats": IMAGE.astype(np.float32) / 255,
    "array of doubles": IMAGE / 255,
    "array that is no block": np.repeat(IMAGE, 2, axis=1)[:, ::2],
    "tensor": torch.from_numpy(IMAGE).movedim(-1, 0),
    "tensor of floats": torch.from_numpy(IMAGE).movedim(-1, 0) / 255,
    "tensor of float16": (torch.from_numpy(IMAGE).movedim(-1, 0) / 255).half(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels(form):
    found = pixels.rgb(FORMS[form])
    assert found.dtype == np.uint8 and found.flags.c_contiguous and np.array_equal(found, IMAGE)
    assert not pixels.is_batch(FORMS[form])


@pytest.mark.parametrize("gray", [GRAY, GRAY / 255, torch.from_numpy(GRAY), Image.fromarray(GRAY)], ids=type)
def test_gray_images_get_three_equal_channels(gray):
    assert np.array_equal(pixels.rgb(gray), np.repeat(GRAY[..., None], 3, axis=-1))


def test_files_are_read_and_images_are_turned_upright(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    assert all(np.array_equal(pixels.rgb(path), IMAGE) for path in (tmp_path / "a.png", str(tmp_path / "a.png")))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IMAGE).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        assert np.array_equal(pixels.rgb(turned), np.rot90(IMAGE, -1))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE.astype(np.int64), r"^array of int64: pixels are uint8 \(0\.\.255\) or floating-point \(0\.\.1\);"),
        (IMAGE > 9, "^array of bool: pixels are"),
        (IMAGE.astype(np.float32), r"^array of float32: holds \d\.\.25\d, but floating-point pixels are 0\.\.1"),
        (torch.full((3, 4, 4), -2.0), r"^tensor of float32: holds -2\.\.-2, but .* not normalised"),
        (np.full((4, 4), np.nan), "^array of float64: holds nan"),
        (IMAGE.transpose(2, 0, 1), r"^array of shape \(3, 9, 7\): an image is \(height, width, 3\)"),
        (torch.from_numpy(IMAGE), r"^tensor of shape \(9, 7, 3\): an image is \(3, height, width\)"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "has no pixels"),
        (Image.fromarray(GRAY.astype(np.float32)), "^image of Pillow: floating-point pixels"),
        (7, "^int is no image; give a path"),
        ("no.png", r"^no\.png: image is missing"),
    ],
)
def test_what_is_no_image_is_one_line(image, message):
    with pytest.raises(InputError, match=message) as caught:
        pixels.rgb(image)
    assert "\n" not in str(caught.value)
