"""From unpacked archives to a complete data set, and the check that a copy is complete.

Knows files, but nothing of archives and downloads. The layouts, which `dkd.data.catalog` reads:

    voc2012     JPEGImages/ID.jpg, SegmentationClassAug/ID.png, ImageSets/Segmentation/{trainaug,val}.txt
    ade20k      images/{training,validation}/ID.jpg, annotations/{training,validation}/ID.png
    cityscapes  leftImg8bit/{train,val}/CITY/ID_leftImg8bit.png, gtFine/{train,val}/CITY/ID_gtFine_labelTrainIds.png
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dkd import cores
from dkd.data import lists, reader
from dkd.data.classes import VOID
from dkd.fetch.sources import BENCHMARKS

MASKS = "SegmentationClassAug"
READY_MASKS = "ready"
"""Folder of the unpacked tree for masks that the user brings in place of SBD's."""


def finish(name: str, tree: Path) -> None:
    """Make the layout of data set `name` from the unpacked archives in `tree`."""
    if name == "voc2012":
        _merge_voc_and_sbd(tree)
    elif name == "cityscapes":
        write_train_ids(tree)


def problem(name: str, root: Path) -> str | None:
    """What is missing from `root` for a complete copy of data set `name`, or None. Images and masks are not read.

    Raises InputError where a list of images is not UTF-8 text.
    """
    try:
        for split, count in BENCHMARKS[name].counts.items():
            pairs = _pairs(name, root, split)
            if len(pairs) != count:
                return f"{split}: {len(pairs)} images, expected {count}"
            for file in (file for pair in pairs for file in pair):
                if not (root / file).stat().st_size:
                    return f"{file} is empty"
    except OSError as error:
        return f"{Path(error.filename).relative_to(root)}: {error.strerror}"
    return None


def write_train_ids(root: Path) -> None:
    """Cityscapes: write the missing ID_gtFine_labelTrainIds.png beside each ID_gtFine_labelIds.png of train and val.

    The archives contain label ids only. The table is torchvision's: 0..18, 255 for classes that are not evaluated.
    """
    from torchvision.datasets import Cityscapes

    table = np.full(256, VOID, dtype=np.uint8)
    for label in Cityscapes.classes:
        if label.id >= 0:
            table[label.id] = label.train_id

    def write(path: Path) -> None:
        target = path.with_name(path.name.replace("_labelIds", "_labelTrainIds"))
        if not target.exists():
            scratch = target.with_name(f".{target.name}.part")
            Image.fromarray(table[reader.read_mask(path, {})]).save(scratch, "PNG")
            scratch.replace(target)

    paths = [path for split in ("train", "val") for path in (root / "gtFine" / split).glob("*/*_gtFine_labelIds.png")]
    with ThreadPoolExecutor(cores.available()) as pool:
        list(tqdm(pool.map(write, paths), total=len(paths), desc="train ids", disable=None, leave=False))


def _pairs(name: str, root: Path, split: str) -> list[tuple[str, str]]:
    """(image, mask) of the images of a split, relative to `root`."""
    if name == "voc2012":
        return [(f"JPEGImages/{id}.jpg", f"{MASKS}/{id}.png") for id in _voc_ids(root, split)]
    if name == "ade20k":
        images = sorted((root / "images" / split).glob("*.jpg"))
        return [(f"images/{split}/{path.name}", f"annotations/{split}/{path.stem}.png") for path in images]
    images = (path.relative_to(root).as_posix() for path in (root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
    return [
        (image, image.replace("leftImg8bit/", "gtFine/").replace("_leftImg8bit", "_gtFine_labelTrainIds"))
        for image in sorted(images)
    ]


def _voc_ids(root: Path, name: str) -> list[str]:
    return _ids(root / "ImageSets/Segmentation" / f"{name}.txt")


def _ids(path: Path) -> list[str]:
    return [line for _, line in lists.read_lines(path)]


def _merge_voc_and_sbd(tree: Path) -> None:
    """Complete SegmentationClassAug, which contains VOC's own masks so far, and write the list of train_aug.

    An image that VOC has annotated keeps that mask; train_aug = VOC train, SBD train and SBD val, less VOC val.
    """
    train, val = set(_voc_ids(tree, "train")), set(_voc_ids(tree, "val"))
    add = _ready_masks if (tree / READY_MASKS).exists() else _sbd_masks
    added = add(tree, train | val)
    (tree / "ImageSets/Segmentation/trainaug.txt").write_text("\n".join(sorted((added | train) - val)) + "\n")


def _ready_masks(tree: Path, own: set[str]) -> set[str]:
    """Move the user's masks of images that VOC has not annotated into place; ids of all of the user's masks."""
    added = {path.stem for path in (tree / READY_MASKS).iterdir()}
    for id in added - own:
        (tree / READY_MASKS / f"{id}.png").replace(tree / MASKS / f"{id}.png")
    shutil.rmtree(tree / READY_MASKS)
    return added


def _sbd_masks(tree: Path, own: set[str]) -> set[str]:
    """Convert SBD's masks of images that VOC has not annotated; ids of all images of SBD."""
    from scipy.io import loadmat

    added = {id for name in ("train", "val") for id in _ids(tree / "sbd" / f"{name}.txt")}
    for id in tqdm(sorted(added - own), desc="SBD labels", disable=None, leave=False):
        labels = loadmat(tree / "sbd/cls" / f"{id}.mat")["GTcls"][0]["Segmentation"][0]
        Image.fromarray(labels.astype(np.uint8)).save(tree / MASKS / f"{id}.png")
    shutil.rmtree(tree / "sbd")
    return added
