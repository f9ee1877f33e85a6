"""Images of any kind become RGB."""

import numpy as np
import pytest
from PIL import Image

from dkd.data import reader


@pytest.mark.parametrize(("mode", "name"), [("L", "a.png"), ("CMYK", "a.jpg"), ("RGBA", "b.png"), ("P", "c.png")])
def test_images_of_any_kind_become_rgb(tmp_path, mode, name):
    Image.new("RGB", (5, 4), (200, 10, 10)).convert(mode).save(tmp_path / name)
    image = reader.read_image(tmp_path / name)
    assert image.shape == (4, 5, 3) and image.dtype == np.uint8 and reader.image_size(tmp_path / name) == (4, 5)
