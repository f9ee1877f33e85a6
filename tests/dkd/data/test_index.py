"""The index lists what the masks show, and names the file that can't be indexed."""

import json
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
    index.write(table, tmp_path / "index.csv")
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
    index.write(table, tmp_path / "index.csv")
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


def about(path, **values):
    facts = path.with_suffix(".json")
    facts.write_text(json.dumps({**json.loads(facts.read_text()), **values}))


def line(path, number, text):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:number], *([] if text is None else [text]), *lines[number + 1 :]]) + "\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: about(path, classes=["background"]), "a.json: classes: expected a list of 2 to 255 names, got"),
        (lambda path: about(path, classes=["background", "disc", "disc"]), "a.json: classes: a name is repeated"),
        (lambda path: about(path, dataset=None), "a.json: dataset: expected a name, got null"),
        (lambda path: about(path, ignore=254), "a.json: ignore: expected 255, got 254"),
        (lambda path: about(path, clases=[]), "a.json: clases: unknown key"),
        (
            lambda path: about(path, stored={"256": 1}),
            'a.json: stored: expected a map from stored values (0 to 255) to integers from 0 to 255, got {"',
        ),
        (lambda path: about(path, stored={"3": 9}), "a.json: stored: label 9 is not among the 7 classes"),
        (
            lambda path: about(path, stored=[1]),
            "a.json: stored: expected a map from stored values (0 to 255) to integers from 0 to 255, got [1]",
        ),
        (
            lambda path: about(path, colours={"red": 1}),
            "a.json: colours: expected a map from colours (#rrggbb) to integers from 0 to 255",
        ),
        (lambda path: path.with_suffix(".json").write_text("{"), "a.json: not readable as JSON"),
        (lambda path: path.with_suffix(".json").unlink(), "a.json: No such file or directory"),
        (lambda path: path.unlink(), "a.csv: No such file or directory"),
        (lambda path: line(path, 0, "id,image"), "a.csv: line 1: expected id,image,mask,split,classes"),
        (lambda path: path.write_text(""), "a.csv: line 1: expected id,image,mask,split,classes"),
        (lambda path: line(path, 2, "a,b,c,train"), 'a.csv: line 3: expected 5 cells, got ["a", "b", "c", "train"]'),
        (lambda path: line(path, 2, ",b,c,train,1"), "a.csv: line 3: expected 5 cells, got"),
        (lambda path: line(path, 2, "a,b,c,trial,1"), 'a.csv: line 3: unknown split "trial"'),
        (lambda path: line(path, 2, "train_00000,b,c,train,1"), 'a.csv: line 3: "train_00000" is there twice'),
        (lambda path: line(path, 2, "a,b,c,train,1 7"), 'a.csv: line 3: expected labels from 1 to 6, got "1 7"'),
        (lambda path: line(path, 2, f"a,{'b' * 200_000},c,train,1"), "a.csv: not readable as CSV (field larger than"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\xff"), "a.csv: not readable as CSV ('utf-8' codec"),
    ],
)
def test_an_edited_index_is_one_line(drawn, tmp_path, change, words):
    path = tmp_path / "a.csv"
    index.write(build_index(drawn), path)
    change(path)
    with pytest.raises(InputError) as caught:
        index.read(path)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/{words}") and said.endswith("; make it with `dkd index`") and "\n" not in said
