"""The index lists what the masks show, and names the file that can't be indexed."""

import os

import numpy as np
import pytest
from PIL import Image

from dkd.data import catalog, index, survey
from dkd.errors import InputError
from tests.dkd.conftest import build_index


def test_index_lists_the_labels_of_every_mask(pictures, tmp_path):
    empty = next((pictures / "masks").iterdir())
    Image.fromarray(np.full((32, 32), 255, dtype=np.uint8)).save(empty)
    table = build_index(pictures)
    for row in table.rows:
        labels = set(np.unique(np.array(Image.open(pictures / row.mask))).tolist())
        assert set(row.classes) == labels - {0, 255}
        assert bool(row.classes) == (row.id != empty.stem)
    keys = [(row.split, row.id) for row in table.rows]
    assert keys == sorted(keys)
    index.write(table, pictures, tmp_path / "index.csv")
    assert (tmp_path / "index.csv").read_text().splitlines()[0] == "id,image,mask,split,classes"
    assert index.read(tmp_path / "index.csv") == table
    assert table.test_rows() == table.of("val") and index.test_split(["train", "test", "val"]) == "test"


@pytest.mark.shared
def test_camvid_is_a_folder_data_set(shared):
    table = build_index(shared / "data" / "camvid_240x180")
    assert len(table.class_names) == 12 and len(table.rows) == 367 + 101 + 233
    assert sum(9 in row.classes for row in table.of("train")) == 360


def test_stored_values_of_cityscapes_become_labels(tmp_path):
    masks, files = [], []
    for id, value in (("a", 0), ("b", 18)):
        for name, mode in ((f"{id}.jpg", "RGB"), (f"{id}.png", "L")):
            Image.new(mode, (6, 4), value if mode == "L" else 0).save(tmp_path / name)
        masks.append(tmp_path / f"{id}.png")
        files.append((id, f"{id}.jpg", f"{id}.png", "train"))
    contents = catalog.Contents(catalog.FIXED["cityscapes"], files, catalog.STORED["cityscapes"], {})
    table, _ = survey.build(tmp_path, "city", contents, decode=False, split=None)
    assert [row.classes for row in table.rows] == [(1,), (19,)]
    index.write(table, tmp_path, tmp_path / "index.csv")
    assert index.read(tmp_path / "index.csv") == table
    Image.new("L", (6, 4), 19).save(masks[1])
    with pytest.raises(InputError, match=r"b.png: label 19 is outside .* \(0..18, 255 = void\)"):
        survey.build(tmp_path, "city", contents, decode=False, split=None)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda image, mask: image.unlink(), "train.txt: line 4: image is missing: no 'train_00003' in "),
        (lambda image, mask: mask.unlink(), "train_00003.png: mask is missing"),
        (lambda image, mask: os.truncate(image, 5), "train_00003.png: image can't be read (not an image)"),
        (lambda image, mask: os.truncate(mask, 60), "train_00003.png: mask can't be"),
        (
            lambda image, mask: Image.open(mask).convert("RGB").save(mask),
            "mask is in colours (mode RGB), and none are listed; give each class its",
        ),
        (
            lambda image, mask: Image.open(mask).crop((0, 0, 32, 20)).save(mask),
            "train_00003.png: mask is 32x20 pixels, its image ",
        ),
    ],
)
def test_an_image_that_cannot_be_indexed_is_one_line(pictures, damage, words):
    damage(pictures / "images" / "train_00003.png", pictures / "masks" / "train_00003.png")
    with pytest.raises(InputError) as caught:
        build_index(pictures)
    assert words in str(caught.value) and "\n" not in str(caught.value)
