"""What is made of the archives."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dkd.fetch import layout
from dkd.fetch.obtain import obtain
from tests.dkd.fetch.conftest import TRAIN, VAL, cityscapes_files, write_archive

TRAIN_IDS = [[255, 0, 1, 18], [255, 255, 13, 255], [10, 5, 2, 2]]


def labels(path: Path) -> set[int]:
    image = Image.open(path)
    assert image.mode in ("L", "P")
    return set(np.unique(np.asarray(image)).tolist())


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def check_voc(root: Path, added: set[int]) -> None:
    assert (root / "ImageSets/Segmentation/val.txt").read_text().split() == VAL
    ids = (root / "ImageSets/Segmentation/trainaug.txt").read_text().split()
    assert ids == ["2007_000032", "2007_000039", "2008_000002", "2008_000007"]
    for id in TRAIN + VAL:
        assert labels(root / f"SegmentationClassAug/{id}.png") == {0, 1, 255}, "VOC's own annotation is kept"
    for id in ("2008_000002", "2008_000007"):
        assert labels(root / f"SegmentationClassAug/{id}.png") == added
        assert (root / f"JPEGImages/{id}.jpg").is_file()
    assert {path.name for path in root.iterdir()} == {"JPEGImages", "SegmentationClassAug", "ImageSets"}
    assert layout.problem("voc2012", root) is None


def test_voc_with_the_labels_of_sbd(with_sbd, tmp_path):
    obtain("voc2012", tmp_path / "voc", str(with_sbd), None)
    check_voc(tmp_path / "voc", {2})


@pytest.mark.parametrize("how", ["folder", "parent", "zip", "zip of files within"])
def test_voc_with_ready_masks(archive, masks, tmp_path, how, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    given = {"folder": masks, "parent": masks.parent}.get(how)
    if given is None:
        given = tmp_path / "SegmentationClassAug.zip"
        top = "SegmentationClassAug" if how == "zip" else "VOC/SegmentationClassAug"
        content = {f"{top}/{path.name}": path.read_bytes() for path in masks.iterdir()}
        write_archive(given, content | {f"__MACOSX/{top}/._{path.name}": b"x" for path in masks.iterdir()})
    obtain("voc2012", tmp_path / "voc", str(archive), given)
    check_voc(tmp_path / "voc", {0, 3, 255})
    assert len(list(masks.iterdir())) == 5, "the user's files stay"


def test_ade20k(archive, tmp_path):
    obtain("ade20k", tmp_path / "ade", str(archive), None)
    assert files(tmp_path / "ade") == [
        *(f"annotations/training/ADE_train_0000000{i}.png" for i in (1, 2)),
        "annotations/validation/ADE_val_00000001.png",
        *(f"images/training/ADE_train_0000000{i}.jpg" for i in (1, 2)),
        "images/validation/ADE_val_00000001.jpg",
    ]
    assert labels(tmp_path / "ade/annotations/validation/ADE_val_00000001.png") == {150}


@pytest.mark.parametrize("by_hand", [False, True])
def test_cityscapes_gets_its_train_ids(archive, tmp_path, caplog, by_hand):
    root = tmp_path / "city"
    if by_hand:
        for content in cityscapes_files():
            write_archive(tmp_path / "x.zip", content)
            shutil.unpack_archive(tmp_path / "x.zip", root)
    caplog.set_level("INFO")
    obtain("cityscapes", root, None if by_hand else str(archive), None)
    path = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png"
    assert np.asarray(Image.open(path)).tolist() == TRAIN_IDS
    if by_hand:
        assert "is complete (2 images train, 1 images val)" in caplog.text
    else:
        assert len(files(root)) == 3 * 3 and not [x for x in files(root) if "test" in x or "color" in x]
