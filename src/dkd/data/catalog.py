"""The known layouts of data sets: their parts, class names, and paths of images and masks.

Knows nothing of pixels. Format `folder` is our own layout for any data set; `shapes` is drawn by `dkd.data.shapes` and
read as `folder`; `voc`, `ade20k` and `cityscapes` are the public benchmarks in the layout of their archives.
No module that trains or evaluates may import this one: a new data set would change its code digest.
"""

import os
from pathlib import Path

from dkd.data.classes import MAX_CLASSES
from dkd.errors import InputError

SHAPES = ("background", "disc", "square", "triangle", "cross", "ring", "star")
VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
# Names are those of the benchmark's own list, the first synonym of each; some have two words.
ADE20K = """other,
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field,
armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of
drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool
table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill,
bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus,
towel, light, truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track,
apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer
belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven,
ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture,
hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower,
radiator, glass, clock, flag"""
CITYSCAPES = (
    "background, road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, "
    "person, rider, car, truck, bus, train, motorcycle, bicycle"
)
FIXED = {
    "shapes": SHAPES,
    "voc": tuple(VOC.split()),
    "ade20k": tuple(ADE20K.replace("\n", " ").split(", ")),
    "cityscapes": tuple(CITYSCAPES.split(", ")),
}
"""Class names, by label, of the formats that have a fixed list."""

PARTS = {
    "folder": ("classes.txt", "images", "masks", "splits"),
    "voc": ("ImageSets/Segmentation", "JPEGImages", "SegmentationClassAug"),
    "ade20k": ("annotations", "images"),
    "cityscapes": ("gtFine", "leftImg8bit"),
}
"""Files and folders that make up the content of a raw data set; everything else under its root is ignored."""

STORED = {
    "folder": {},
    "voc": {},
    "ade20k": {},
    # Train ids count the classes from 0, and there is no background.
    "cityscapes": {k: k + 1 for k in range(19)},
}
"""Label of each value that masks store; empty where values are labels (`dkd.data.classes`)."""

Files = list[tuple[str, str, str, str]]
"""(id, image, mask, split) of each image; paths are relative to the data set's root (POSIX)."""


def class_names(format: str, root: Path | None) -> tuple[str, ...]:
    """Class names by label, background first; from `root`/classes.txt where the format has no fixed list.

    Raises InputError where the file is missing, empty, repeats a name or names more than 254 classes.
    """
    if format in FIXED:
        return FIXED[format]
    path = root / "classes.txt"
    try:
        names = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: {reason}; a folder data set names label k on line k, background on line 0") from None
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if not 2 <= len(names) <= MAX_CLASSES + 1 or "" in names:
        raise InputError(
            f"{path}: {len(names)} lines; needs background and 1 to {MAX_CLASSES} class names, none of them empty"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: class name {repeated[0]!r} occurs more than once")
    return tuple(names)


def read_ids(path: Path) -> list[str]:
    """Ids in a list of images, one per line.

    Raises InputError where it is not UTF-8 text, OSError where it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; it lists the ids of images, one per line") from None


def list_files(format: str, root: Path) -> Files:
    """Image, mask and split of every image.

    Raises InputError that names the file where a list or an image is missing, a list is not UTF-8 text or an id occurs
    twice.
    """
    return {"folder": _folder, "voc": _voc, "ade20k": _ade20k, "cityscapes": _cityscapes}[format](root)


def _voc(root: Path) -> Files:
    """VOC 2012 with the labels of SBD: JPEGImages, SegmentationClassAug, and the lists trainaug and val."""
    files, seen = [], set()
    for split, names in (("train", ("trainaug", "train_aug")), ("val", ("val",))):
        lists = [root / "ImageSets" / "Segmentation" / f"{name}.txt" for name in names]
        path = next((path for path in lists if path.is_file()), None)
        if path is None:
            raise InputError(f"{lists[0]}: missing; it lists the ids of the {split} images, one per line")
        for id in read_ids(path):
            if id in seen:
                raise InputError(f"{path}: {id!r} is listed twice, or for training and validation")
            seen.add(id)
            files.append((id, f"JPEGImages/{id}.jpg", f"SegmentationClassAug/{id}.png", split))
    return files


def _ade20k(root: Path) -> Files:
    """ADE20K of the scene parsing challenge: images/ and annotations/, each with training/ and validation/."""
    files = []
    for split, name in (("train", "training"), ("val", "validation")):
        folder = root / "images" / name
        try:
            found = sorted(Path(entry.name).stem for entry in os.scandir(folder) if entry.name.endswith(".jpg"))
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}; ADE20K keeps its {name} images there") from None
        if not found:
            raise InputError(f"{folder}: contains no .jpg image")
        files += [(id, f"images/{name}/{id}.jpg", f"annotations/{name}/{id}.png", split) for id in found]
    return files


def _cityscapes(root: Path) -> Files:
    """Cityscapes: leftImg8bit/ and gtFine/ with train ids, each with train/ and val/, a folder for each city."""
    files = []
    for split in ("train", "val"):
        found = sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
        if not found:
            raise InputError(f"{root / 'leftImg8bit' / split}: contains no CITY/*_leftImg8bit.png")
        for path in found:
            id, city = path.name.removesuffix("_leftImg8bit.png"), path.parent.name
            mask = f"gtFine/{split}/{city}/{id}_gtFine_labelTrainIds.png"
            files.append((id, f"leftImg8bit/{split}/{city}/{path.name}", mask, split))
    return files


def _folder(root: Path) -> Files:
    """A folder data set: images/, masks/ and splits/{train,val[,test]}.txt."""
    try:
        stored = {entry.name for entry in os.scandir(root / "images")}
    except OSError as error:
        raise InputError(f"{root / 'images'}: {error.strerror}; a folder data set keeps its images there") from None
    files, seen = [], {}
    for split in ("train", "val", "test"):
        path = root / "splits" / f"{split}.txt"
        if not path.exists():
            if split == "test":
                continue
            raise InputError(f"{path}: missing; it lists the ids of the {split} images, one per line")
        listed = read_ids(path)
        if not listed:
            raise InputError(f"{path}: lists no image")
        for id in listed:
            if id in seen:
                raise InputError(f"{path}: {id!r} is listed twice (also in {seen[id]}.txt)")
            seen[id] = split
            image = next((name for end in ("jpg", "png", "jpeg") if (name := f"{id}.{end}") in stored), None)
            if image is None:
                raise InputError(f"{root / 'images' / id}.jpg: image is missing (nor is there a .png; see {path})")
            files.append((id, f"images/{image}", f"masks/{id}.png", split))
    return files
