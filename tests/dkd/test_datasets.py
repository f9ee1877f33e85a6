"""The embedded data set, the index and the reader."""

import os

import numpy as np
import pytest
from PIL import Image

from dkd.data import catalog, index, reader, shapes
from dkd.errors import InputError


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


def small(path, label):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("L", (6, 4), label)
    (picture if path.suffix == ".png" else picture.convert("RGB")).save(path)


def rows_of(root, format):
    table = index.build(root, format, catalog.class_names(format, root), catalog.places(format, root))
    return [(row.id, row.split, row.classes) for row in table.rows]


def test_voc_as_it_is_unpacked(tmp_path):
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for id, label in (("2007_1", 15), ("2008_2", 20), ("2009_3", 0), ("unused", 3)):
        small(tmp_path / "JPEGImages" / f"{id}.jpg", 0)
        small(tmp_path / "SegmentationClassAug" / f"{id}.png", label)
    (lists / "trainaug.txt").write_text("2008_2\n2007_1\n")
    (lists / "val.txt").write_text("2009_3\n")
    assert rows_of(tmp_path, "voc") == [
        ("2007_1", "train", (15,)),
        ("2008_2", "train", (20,)),
        ("2009_3", "val", ()),
    ]
    (lists / "val.txt").write_text("2007_1\n")
    with pytest.raises(InputError, match=r"val.txt: '2007_1' is listed twice, or for training and validation"):
        catalog.places("voc", tmp_path)
    (lists / "trainaug.txt").rename(lists / "train_aug.txt")
    (lists / "val.txt").unlink()
    with pytest.raises(InputError, match=r"val.txt: missing; it lists"):
        catalog.places("voc", tmp_path)


@pytest.mark.parametrize(("format", "name"), [("folder", "splits/val"), ("voc", "ImageSets/Segmentation/trainaug")])
def test_a_list_in_another_encoding_is_named(pictures, format, name):
    path = pictures / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("caf\u00e9\n", encoding="latin-1")
    with pytest.raises(InputError) as caught:
        catalog.places(format, pictures)
    assert str(caught.value) == f"{path}: not UTF-8 text; it lists the ids of pictures, one per line"


def test_ade20k_as_it_is_unpacked(tmp_path):
    for name, id, label in (("training", "ADE_train_1", 150), ("validation", "ADE_val_1", 1)):
        small(tmp_path / "images" / name / f"{id}.jpg", 0)
        small(tmp_path / "annotations" / name / f"{id}.png", label)
    assert rows_of(tmp_path, "ade20k") == [("ADE_train_1", "train", (150,)), ("ADE_val_1", "val", (1,))]
    (tmp_path / "images" / "validation" / "ADE_val_1.jpg").unlink()
    with pytest.raises(InputError, match=r"validation: holds no \.jpg"):
        catalog.places("ade20k", tmp_path)


def test_class_lists_of_the_benchmarks():
    voc, ade = catalog.FIXED["voc"], catalog.FIXED["ade20k"]
    assert (len(voc), voc[0], voc[15], voc[20]) == (21, "background", "person", "tvmonitor")
    assert (len(ade), ade[0], ade[13], ade[150]) == (151, "other", "person", "flag")
    assert len(set(ade)) == 151 and all(name == name.strip() for name in ade)


def test_cityscapes_counts_its_classes_from_zero(tmp_path):
    for split, value in (("train", 0), ("val", 18)):
        small(tmp_path / "leftImg8bit" / split / "ulm" / "ulm_1_leftImg8bit.png", 0)
        small(tmp_path / "gtFine" / split / "ulm" / "ulm_1_gtFine_labelTrainIds.png", value)
    names, places = catalog.class_names("cityscapes", None), catalog.places("cityscapes", tmp_path)
    assert len(names) == 20 and names[1] == "road" and names[19] == "bicycle"
    places = [(f"{split} {id}", image, mask, split) for id, image, mask, split in places]
    table = index.build(tmp_path, "cityscapes", names, places, catalog.STORED["cityscapes"])
    assert [(row.split, row.classes) for row in table.rows] == [("train", (1,)), ("val", (19,))]
    index.write(table, tmp_path, tmp_path / "index.csv")
    read = index.read(tmp_path / "index.csv")
    assert read == table and read.labels()[[0, 18, 255]].tolist() == [1, 19, 255]
    small(tmp_path / places[1][2], 19)
    with pytest.raises(
        InputError, match=r"ulm_1_gtFine_labelTrainIds.png: label 19 is outside .* \(0..18, 255 = void\)"
    ):
        index.build(tmp_path, "cityscapes", names, places, catalog.STORED["cityscapes"])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda image, mask: image.unlink(), "train_00003.jpg: image is missing"),
        (lambda image, mask: mask.unlink(), "train_00003.png: mask is missing"),
        (lambda image, mask: os.truncate(image, 5), "train_00003.png: image can't be read"),
        (lambda image, mask: os.truncate(mask, 60), "train_00003.png: mask can't be"),
        (
            lambda image, mask: Image.open(mask).crop((0, 0, 32, 20)).save(mask),
            "mask is 32x20 pixels, its image images/train_00003.png 32x32",
        ),
    ],
)
def test_a_picture_that_cannot_be_indexed_is_one_line(pictures, damage, words):
    damage(pictures / "images" / "train_00003.png", pictures / "masks" / "train_00003.png")
    with pytest.raises(InputError) as caught:
        index.build(pictures, "x", catalog.class_names("folder", pictures), catalog.places("folder", pictures))
    assert words in str(caught.value) and "\n" not in str(caught.value)
