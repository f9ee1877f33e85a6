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
    pixels = np.zeros((6, 9, 3), dtype=np.uint8)
    assert images.scaled(pixels, 2).shape == (12, 18, 3) and images.scaled(pixels, 1) is pixels
    assert images.scaled(pixels, 0.01).shape == (1, 1, 3)
