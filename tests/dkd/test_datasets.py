"""The embedded data set, the index and the reader."""

import numpy as np
import pytest
from PIL import Image

from dkd.datasets import catalog, index, reader, shapes


def test_shapes_follow_from_the_seed(tmp_path):
    options = {"size": 32, "train": 3, "val": 2, "objects": (3, 5)}
    shapes.draw(tmp_path / "a", seed=1, **options)
    shapes.draw(tmp_path / "b", seed=1, **(options | {"train": 5}))
    shapes.draw(tmp_path / "c", seed=2, **options)
    name = "images/train_00002.png"
    same, other = ((tmp_path / x / name).read_bytes() for x in "bc")
    assert (tmp_path / "a" / name).read_bytes() == same != other


def test_shapes_show_every_class_and_mix_them(drawn):
    table = index.build(drawn, "shapes", catalog.class_names("folder", drawn), catalog.places("folder", drawn))
    shown = [set(row.classes) for row in table.rows]
    assert set().union(*shown) == set(range(1, 7))
    assert np.mean([len(classes) for classes in shown]) > 2
    assert {row.split for row in table.rows} == {"train", "val"}


def test_textures_tell_classes_apart():
    """Every class has pixels of both inks, so that neither outline nor texture is missing."""
    for label in range(1, len(shapes.SHAPES)):
        texture = shapes._texture(label, 64, np.array([32.0, 32.0]), 14.0, 0.3)
        inside = shapes._outline(label, 64, np.array([32.0, 32.0]), 14.0, 0.3)
        assert inside.sum() > 100 and 0.1 < texture[inside].mean() < 0.9


def test_index_lists_the_labels_of_every_mask(drawn, tmp_path):
    table = index.build(drawn, "shapes", catalog.class_names("folder", drawn), catalog.places("folder", drawn))
    for row in table.rows:
        labels = set(np.unique(np.array(Image.open(drawn / row.mask))).tolist())
        assert set(row.classes) == labels - {0, 255}
    keys = [(row.split, row.id) for row in table.rows]
    assert keys == sorted(keys)
    index.write(table, drawn, tmp_path / "index.csv")
    assert (tmp_path / "index.csv").read_text().splitlines()[0] == "id,image,mask,split,classes"
    assert index.read(tmp_path / "index.csv") == table


def test_void_and_background_are_not_classes(pictures):
    mask = next((pictures / "masks").iterdir())
    Image.fromarray(np.full((32, 32), 255, dtype=np.uint8)).save(mask)
    table = index.build(pictures, "x", catalog.class_names("folder", pictures), catalog.places("folder", pictures))
    assert next(row for row in table.rows if row.id == mask.stem).classes == ()


@pytest.mark.parametrize(("mode", "name"), [("L", "a.png"), ("CMYK", "a.jpg"), ("RGBA", "b.png"), ("P", "c.png")])
def test_images_of_any_kind_become_rgb(tmp_path, mode, name):
    Image.new("RGB", (5, 4), (200, 10, 10)).convert(mode).save(tmp_path / name)
    image = reader.read_image(tmp_path / name)
    assert image.shape == (4, 5, 3) and image.dtype == np.uint8


@pytest.mark.shared
def test_camvid_is_a_folder_data_set(shared):
    root = shared / "data" / "camvid_240x180"
    table = index.build(root, "camvid", catalog.class_names("folder", root), catalog.places("folder", root))
    assert len(table.class_names) == 12 and len(table.rows) == 367 + 101 + 233
    assert sum(9 in row.classes for row in table.rows if row.split == "train") == 360
