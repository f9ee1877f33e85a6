"""What is known of each data-set format: its parts, its class names, and where its pictures and masks lie.

Knows nothing of pixels. Format `folder` is any data set in our own layout; `shapes` is drawn by `dkd.data.shapes`
and read as `folder`; `voc`, `ade20k` and `cityscapes` are the benchmarks as they are unpacked.
"""

import os
from pathlib import Path

from dkd.errors import InputError

SHAPES = ("background", "disc", "square", "triangle", "cross", "ring", "star")
VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
# Names are those of the benchmark's own list, the first synonym of each; several are of two words.
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
"""Class names of the formats that have a fixed list; label 0 first."""

# What of a raw data set makes up its content; anything else lying under its root is of no consequence.
PARTS = {
    "folder": ("classes.txt", "images", "masks", "splits"),
    "voc": ("ImageSets/Segmentation", "JPEGImages", "SegmentationClassAug"),
    "ade20k": ("annotations", "images"),
    "cityscapes": ("gtFine", "leftImg8bit"),
}

# What masks store, where that is not the label: Cityscapes counts its classes from 0, and has no background.
STORED = {"cityscapes": {k: k + 1 for k in range(19)}}


def class_names(format: str, root: Path | None) -> tuple[str, ...]:
    """Names of label 0 (background), 1, 2, ... ; read from `root`/classes.txt where the format leaves them to the user.

    Raises InputError where the file is missing, empty, repeats a name or names more than 254 classes.
    """
    if format in FIXED:
        return FIXED[format]
    path = root / "classes.txt"
    try:
        names = tuple(path.read_text(encoding="utf-8").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: {reason}; a folder data set names label k on line k, background on line 0") from None
    names = tuple(name.strip() for name in names)
    while names and not names[-1]:
        names = names[:-1]
    if len(names) < 2 or len(names) > 255 or "" in names:
        raise InputError(f"{path}: {len(names)} lines; needs background and 1 to 254 class names, none of them empty")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: class name {repeated[0]!r} occurs more than once")
    return names


def ids(path: Path) -> list[str]:
    """Ids of a list of pictures, one per line.

    Raises InputError where it is not UTF-8 text, OSError where it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; it lists the ids of pictures, one per line") from None


def places(format: str, root: Path) -> list[tuple[str, str, str, str]]:
    """(id, image, mask, split) of every picture, paths relative to `root` (POSIX).

    Raises InputError that names the file where a list or a picture is missing, a list is not UTF-8 text or an id occurs
    twice.
    """
    return {"folder": _folder, "voc": _voc, "ade20k": _ade20k, "cityscapes": _cityscapes}[format](root)


def _voc(root: Path) -> list[tuple[str, str, str, str]]:
    """VOC 2012 with the labels of SBD: JPEGImages, SegmentationClassAug, and the lists trainaug and val."""
    places, seen = [], set()
    for split, names in (("train", ("trainaug", "train_aug")), ("val", ("val",))):
        lists = [root / "ImageSets" / "Segmentation" / f"{name}.txt" for name in names]
        path = next((path for path in lists if path.is_file()), None)
        if path is None:
            raise InputError(f"{lists[0]}: missing; it lists the ids of the {split} pictures, one per line")
        for id in ids(path):
            if id in seen:
                raise InputError(f"{path}: {id!r} is listed twice, or for training and validation")
            seen.add(id)
            places.append((id, f"JPEGImages/{id}.jpg", f"SegmentationClassAug/{id}.png", split))
    return places


def _ade20k(root: Path) -> list[tuple[str, str, str, str]]:
    """ADE20K as of the scene parsing challenge: images/ and annotations/, each with training/ and validation/."""
    places = []
    for split, name in (("train", "training"), ("val", "validation")):
        folder = root / "images" / name
        try:
            found = sorted(Path(entry.name).stem for entry in os.scandir(folder) if entry.name.endswith(".jpg"))
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}; ADE20K keeps its {name} pictures there") from None
        if not found:
            raise InputError(f"{folder}: holds no .jpg picture")
        places += [(id, f"images/{name}/{id}.jpg", f"annotations/{name}/{id}.png", split) for id in found]
    return places


def _cityscapes(root: Path) -> list[tuple[str, str, str, str]]:
    """Cityscapes: leftImg8bit/ and gtFine/ with train ids, each with train/ and val/, a folder for each city."""
    places = []
    for split in ("train", "val"):
        found = sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
        if not found:
            raise InputError(f"{root / 'leftImg8bit' / split}: holds no CITY/*_leftImg8bit.png")
        for path in found:
            id, city = path.name.removesuffix("_leftImg8bit.png"), path.parent.name
            mask = f"gtFine/{split}/{city}/{id}_gtFine_labelTrainIds.png"
            places.append((id, f"leftImg8bit/{split}/{city}/{path.name}", mask, split))
    return places


def _folder(root: Path) -> list[tuple[str, str, str, str]]:
    """(id, image, mask, split) of a folder data set: images/, masks/ and splits/{train,val[,test]}.txt."""
    try:
        stored = {entry.name for entry in os.scandir(root / "images")}
    except OSError as error:
        raise InputError(f"{root / 'images'}: {error.strerror}; a folder data set keeps its pictures there") from None
    places, seen = [], {}
    for split in ("train", "val", "test"):
        path = root / "splits" / f"{split}.txt"
        if not path.exists():
            if split == "test":
                continue
            raise InputError(f"{path}: missing; it lists the ids of the {split} pictures, one per line")
        listed = ids(path)
        if not listed:
            raise InputError(f"{path}: lists no picture")
        for id in listed:
            if id in seen:
                raise InputError(f"{path}: {id!r} is listed twice (also in {seen[id]}.txt)")
            seen[id] = split
            image = next((name for end in ("jpg", "png", "jpeg") if (name := f"{id}.{end}") in stored), None)
            if image is None:
                raise InputError(f"{root / 'images' / id}.jpg: image is missing (nor is there a .png; see {path})")
            places.append((id, f"images/{image}", f"masks/{id}.png", split))
    return places
