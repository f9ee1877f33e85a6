"""Where each layout keeps images and masks, and what its classes are called."""

from pathlib import Path

import pytest

from dkd.data import catalog
from dkd.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_lists(root: Path, **ids: str) -> Path:
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    for name, text in ids.items():
        (lists / f"{name}.txt").write_text(text)
    return lists


def test_voc(tmp_path):
    lists = write_lists(tmp_path, trainaug="2008_2\n2007_1\n", val="2009_3\n")
    for id in ("2008_2", "2007_1", "2009_3"):
        touch(tmp_path, f"JPEGImages/{id}.jpg", f"SegmentationClassAug/{id}.png")
    assert catalog.list_files("voc", tmp_path) == [
        (id, f"JPEGImages/{id}.jpg", f"SegmentationClassAug/{id}.png", split)
        for id, split in (("2008_2", "train"), ("2007_1", "train"), ("2009_3", "val"))
    ]
    write_lists(tmp_path, val="2007_1\n")
    with pytest.raises(InputError, match=r"val.txt: '2007_1' is listed twice \(also in trainaug.txt\)"):
        catalog.list_files("voc", tmp_path)
    (lists / "trainaug.txt").rename(lists / "train_aug.txt")
    (lists / "val.txt").unlink()
    with pytest.raises(InputError, match=r"val.txt: missing; it lists"):
        catalog.list_files("voc", tmp_path)


def test_ade20k(tmp_path):
    touch(tmp_path, "images/training/ADE_train_1.jpg", "images/validation/ADE_val_1.jpg", "images/validation/x.txt")
    assert catalog.list_files("ade20k", tmp_path) == [
        ("ADE_train_1", "images/training/ADE_train_1.jpg", "annotations/training/ADE_train_1.png", "train"),
        ("ADE_val_1", "images/validation/ADE_val_1.jpg", "annotations/validation/ADE_val_1.png", "val"),
    ]
    (tmp_path / "images" / "validation" / "ADE_val_1.jpg").unlink()
    with pytest.raises(InputError, match=r"validation: contains no \.jpg"):
        catalog.list_files("ade20k", tmp_path)


def test_cityscapes(tmp_path):
    touch(tmp_path, *(f"leftImg8bit/{split}/ulm/{split}_1_leftImg8bit.png" for split in ("train", "val", "test")))
    assert catalog.list_files("cityscapes", tmp_path) == [
        (
            f"{split}_1",
            f"leftImg8bit/{split}/ulm/{split}_1_leftImg8bit.png",
            f"gtFine/{split}/ulm/{split}_1_gtFine_labelTrainIds.png",
            split,
        )
        for split in ("train", "val")
    ]


@pytest.mark.parametrize(("format", "name"), [("folder", "splits/val"), ("voc", "ImageSets/Segmentation/trainaug")])
def test_a_list_in_another_encoding_is_named(pictures, format, name):
    path = pictures / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("caf\u00e9\n", encoding="latin-1")
    touch(pictures, "JPEGImages/a.jpg", "SegmentationClassAug/a.png", "ImageSets/Segmentation/val.txt")
    with pytest.raises(InputError) as caught:
        catalog.list_files(format, pictures)
    assert str(caught.value) == f"{path}: not UTF-8 text; it lists the ids of images, one per line"


def test_class_lists_of_the_benchmarks():
    for format, count, some in (
        ("voc", 20, {0: "background", 15: "person", 20: "tvmonitor"}),
        ("ade20k", 150, {0: "other", 13: "person", 150: "flag"}),
        ("cityscapes", 19, {0: "background", 1: "road", 19: "bicycle"}),
    ):
        names = catalog.class_names(format, None)
        assert len(set(names)) == len(names) == count + 1 and all(name == name.strip() for name in names)
        assert {label: names[label] for label in some} == some
