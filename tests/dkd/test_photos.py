"""Pictures of every kind that people have come out as upright RGB; files keep their names."""

import numpy as np
import pytest
from PIL import Image

from dkd.errors import InputError
from dkd.use import images as photos

PIXELS = np.zeros((6, 9, 3), dtype=np.uint8)
PIXELS[:, :3] = (200, 40, 90)


def picture(mode="RGB"):
    return Image.fromarray(PIXELS).convert(mode)


def test_exif_turns_a_picture_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / "a.png", exif=exif)
    assert (photos.read(tmp_path / "a.png") == np.rot90(PIXELS, -1)).all()


def test_gray_comes_as_three_equal_channels(tmp_path):
    picture("L").save(tmp_path / "a.png")
    found = photos.read(tmp_path / "a.png")
    assert found.shape == (6, 9, 3) and (found == np.array(picture("L"))[..., None]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_shows_white(tmp_path, mode):
    image = picture("RGBA")
    image.putalpha(Image.fromarray(np.where(PIXELS[..., 0] > 0, 255, 0).astype(np.uint8)))
    place = tmp_path / ("a.gif" if mode == "P" else "a.tif" if mode == "PA" else "a.png")
    (image if mode == "P" else image.convert(mode) if mode != "PA" else image).save(place)
    found = photos.read(place)
    assert (found[:, 3:] == 255).all() and (found[:, :3] != 255).any()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path, suffix):
    values = np.array([[0, 256, 65535], [128, 32768, 40000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert photos.read(tmp_path / f"a.{suffix}")[..., 1].tolist() == [[0, 1, 255], [0, 128, 156]]


def test_cmyk_comes_as_rgb(tmp_path):
    picture("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(photos.read(tmp_path / "a.jpg").astype(int) - PIXELS).mean() < 5


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no picture", "not a picture"), (None, "No such file"), (b"", "not a picture"), ("half", "truncated")],
)
def test_what_cannot_be_read_is_named(tmp_path, content, said):
    place = tmp_path / "a.png"
    if content == "half":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(place)
        content = place.read_bytes()[:2000]
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.png: .*{said}"):
        photos.read(place)


def test_floating_point_is_refused(tmp_path):
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: can't be decoded \(floating-point"):
        photos.read(tmp_path / "a.tif")


def test_very_large_pictures_are_read_and_the_limit_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    picture().save(tmp_path / "a.png")
    assert photos.read(tmp_path / "a.png").shape == PIXELS.shape
    assert Image.MAX_IMAGE_PIXELS == 10


def test_names_and_folders_are_kept(tmp_path):
    for name in ("a.jpg", "b.JPG", "deep/er/a.jpg", "twin.png", "twin.jpg", "dots.in.name.png", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    found, others = photos.find([tmp_path / "in"])
    assert [photo.name for photo in found] == ["a", "b", "deep/er/a", "dots.in.name", "twin.jpg", "twin.png"]
    assert others == 1
    single, _ = photos.find([tmp_path / "in" / "notes.txt"])
    assert [photo.name for photo in single] == ["notes"], "a file that is named is tried, whatever its suffix"
    two, _ = photos.find([tmp_path / "in" / "deep", tmp_path / "in" / "a.jpg"])
    assert [photo.name for photo in two] == ["deep/er/a", "a"]
    again, _ = photos.find([tmp_path / "in" / "a.jpg", tmp_path / "in" / "a.jpg"])
    assert len(again) == 1


def test_nothing_is_lost_to_a_common_name(tmp_path):
    for folder in ("x/p", "y/p"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.jpg").touch()
    with pytest.raises(InputError, match=r"would both go by p/a\.jpg; label them in two calls"):
        photos.find([tmp_path / "x/p", tmp_path / "y/p"])
    with pytest.raises(InputError, match="nowhere: no such file"):
        photos.find([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no picture"):
        photos.find([tmp_path / "empty"])
