"""Images in all common formats are read as upright RGB, and files keep their names."""

import numpy as np
import pytest
from PIL import Image

from dkd.errors import InputError
from dkd.use import images

PIXELS = np.zeros((6, 9, 3), dtype=np.uint8)
PIXELS[:, :3] = (200, 40, 90)


def image(mode="RGB"):
    return Image.fromarray(PIXELS).convert(mode)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image().save(tmp_path / "a.png", exif=exif)
    assert (images.read(tmp_path / "a.png") == np.rot90(PIXELS, -1)).all()


def test_gray_and_cmyk_become_rgb(tmp_path):
    image("L").save(tmp_path / "a.png")
    assert (images.read(tmp_path / "a.png") == np.repeat(np.array(image("L"))[..., None], 3, axis=-1)).all()
    image("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(images.read(tmp_path / "a.jpg").astype(int) - PIXELS).mean() < 5


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_pixels_become_white(tmp_path, mode):
    source = image("RGBA")
    source.putalpha(Image.fromarray(np.where(PIXELS[..., 0] > 0, 255, 0).astype(np.uint8)))
    place = tmp_path / ("a.gif" if mode == "P" else "a.tif" if mode == "PA" else "a.png")
    (source if mode in ("P", "PA") else source.convert(mode)).save(place)
    found = images.read(place)
    assert (found[:, 3:] == 255).all() and (found[:, :3] != 255).any()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path, suffix):
    values = np.array([[0, 256, 65535], [128, 32768, 40000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert images.read(tmp_path / f"a.{suffix}")[..., 1].tolist() == [[0, 1, 255], [0, 128, 156]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "not an image"),
        (b"", "not an image"),
        (None, "No such file"),
        ("half", "truncated"),
        ("float", r"cannot be decoded \(floating-point"),
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
        images.read(place)


def test_images_beyond_pillows_limit_are_read_and_the_limit_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    image().save(tmp_path / "a.png")
    assert images.read(tmp_path / "a.png").shape == PIXELS.shape
    assert Image.MAX_IMAGE_PIXELS == 10


def test_names_and_folders_are_kept(tmp_path):
    for name in ("a.jpg", "b.JPG", "deep/er/a.jpg", "twin.png", "twin.jpg", "dots.in.name.png", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()

    def names(*places):
        return [file.name for file in images.find([tmp_path / "in" / place for place in places])[0]]

    assert names("") == ["a", "b", "deep/er/a", "dots.in.name", "twin.jpg", "twin.png"]
    assert images.find([tmp_path / "in"])[1] == 1
    assert names("notes.txt") == ["notes"], "a named file is tried whatever its suffix"
    assert names("deep", "a.jpg") == ["deep/er/a", "a"]
    assert names("a.jpg", "a.jpg") == ["a"]


def test_equal_output_names_and_places_without_images_are_refused(tmp_path):
    for folder in ("x/p", "y/p"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.jpg").touch()
    (tmp_path / "empty").mkdir()
    for places, message in (
        (("x/p", "y/p"), r"would both be named p/a\.jpg in the output; label them in two calls"),
        (("nowhere",), "nowhere: no such file"),
        (("empty",), "empty: contains no image"),
    ):
        with pytest.raises(InputError, match=message):
            images.find([tmp_path / place for place in places])


def test_both_sides_are_scaled():
    assert images.scaled(PIXELS, 2).shape == (12, 18, 3) and images.scaled(PIXELS, 1) is PIXELS
    assert images.scaled(PIXELS, 0.01).shape == (1, 1, 3)
