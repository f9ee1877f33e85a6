"""Images are found in files and folders, and their outputs keep the names."""

import numpy as np
import pytest

from dkd.errors import InputError
from dkd.use import images


def test_names_and_folders_are_kept(tmp_path):
    for name in ("a.jpg", "b.JPG", "deep/er/a.jpg", "twin.png", "twin.jpg", "dots.in.name.png", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()

    def names(*places):
        return [file.name for file in images.find([tmp_path / "in" / place for place in places], False).files]

    assert names("") == ["a", "b", "deep/er/a", "dots.in.name", "twin.jpg", "twin.png"]
    assert images.find([tmp_path / "in"], False).passed == [(tmp_path / "in" / "notes.txt", "no suffix of an image")]
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
            images.find([tmp_path / place for place in places], False)


def test_both_sides_are_scaled():
    pixels = np.zeros((6, 9, 3), dtype=np.uint8)
    assert images.scaled(pixels, 2).shape == (12, 18, 3) and images.scaled(pixels, 1) is pixels
    assert images.scaled(pixels, 0.01).shape == (1, 1, 3)


def test_videos_are_labelled_on_request_and_keep_their_suffix(tmp_path):
    (tmp_path / "a.MP4").touch()
    with pytest.raises(InputError, match=r"contains no image \(a\.MP4: is a video"):
        images.find([tmp_path], False)
    with pytest.raises(InputError, match=r"a\.MP4: is a video; --every N labels one frame of N"):
        images.find([tmp_path / "a.MP4"], False)
    (tmp_path / "a.jpg").touch()
    assert images.find([tmp_path], False).passed == [
        (tmp_path / "a.MP4", "is a video; --every N labels one frame of N")
    ]
    files, passed = images.find([tmp_path], True)
    assert [(file.name, file.is_video) for file in files] == [("a.MP4", True), ("a.jpg", False)] and not passed


def test_heic_without_its_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.HEIC").touch()
    monkeypatch.setattr(images.Image, "registered_extensions", lambda: {".jpg": "JPEG"})
    for place in (tmp_path, tmp_path / "a.HEIC"):
        with pytest.raises(InputError, match=r'is HEIC, which needs a package; pip install -e "\.\[heic\]"'):
            images.find([place], True)
