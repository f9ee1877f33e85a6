"""Images of all kinds are read as upright 8-bit RGB, masks as the values or colours that they store."""

import numpy as np
import pytest
from PIL import Image

from dkd.data import reader
from dkd.errors import InputError

PIXELS = np.zeros((6, 9, 3), dtype=np.uint8)
PIXELS[:, :3] = (200, 40, 90)


def image(mode="RGB"):
    return Image.fromarray(PIXELS).convert(mode)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image().save(tmp_path / "a.png", exif=exif)
    assert (reader.read_image(tmp_path / "a.png") == np.rot90(PIXELS, -1)).all()


def test_gray_and_cmyk_become_rgb(tmp_path):
    image("L").save(tmp_path / "a.png")
    assert (reader.read_image(tmp_path / "a.png") == np.repeat(np.array(image("L"))[..., None], 3, axis=-1)).all()
    image("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(reader.read_image(tmp_path / "a.jpg").astype(int) - PIXELS).mean() < 5


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_pixels_become_white(tmp_path, mode):
    source = image("RGBA")
    source.putalpha(Image.fromarray(np.where(PIXELS[..., 0] > 0, 255, 0).astype(np.uint8)))
    place = tmp_path / ("a.gif" if mode == "P" else "a.tif" if mode == "PA" else "a.png")
    (source if mode in ("P", "PA") else source.convert(mode)).save(place)
    found = reader.read_image(place)
    assert (found[:, 3:] == 255).all() and (found[:, :3] != 255).any()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path, suffix):
    values = np.array([[0, 256, 65535], [128, 32768, 40000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert reader.read_image(tmp_path / f"a.{suffix}")[..., 1].tolist() == [[0, 1, 255], [0, 128, 156]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "not an image"),
        (b"", "not an image"),
        (None, "image is missing"),
        ("half", "truncated"),
        ("float", r"can't be decoded \(floating-point"),
    ],
)
def test_unreadable_files_are_named(tmp_path, content, message):
    place = tmp_path / "a.tif" if content == "float" else tmp_path / "a.png"
    if content == "half":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(place)
        place.write_bytes(place.read_bytes()[:2000])
    elif content == "float":
        Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(place)
    elif content is not None:
        place.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.(png|tif): .*{message}"):
        reader.read_image(place)


def test_images_beyond_pillows_limit_are_read_and_the_limit_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    image().save(tmp_path / "a.png")
    assert reader.read_image(tmp_path / "a.png").shape == PIXELS.shape
    assert Image.MAX_IMAGE_PIXELS == 10
