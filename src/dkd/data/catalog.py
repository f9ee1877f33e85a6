"""The known layouts of data sets: their parts, class names, and paths of images and masks.

Knows nothing of pixels. Format `folder` is our own layout for any data set; `shapes` is drawn by `dkd.data.shapes` and
read as `folder`; `voc`, `ade20k` and `cityscapes` are the public benchmarks in the layout of their archives.
No module that trains or evaluates may import this one: a new data set would change its code digest.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dkd import json_file
from dkd.data import class_table, classes, lists
from dkd.data.shapes import SHAPES
from dkd.errors import InputError

log = logging.getLogger(__name__)

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
    "shapes": {},
    "voc": {},
    "ade20k": {},
    # Train ids count the classes from 0, and there is no background.
    "cityscapes": {k: k + 1 for k in range(19)},
}
"""Label of each value that masks store; empty where values are labels (`dkd.data.classes`)."""

Files = list[tuple[str, str, str, str]]
"""(id, image, mask, split) of each image; paths are relative to the data set's root (POSIX)."""


class Contents(NamedTuple):
    """What a data set consists of, before its masks are read."""

    class_names: tuple[str, ...]
    """By label, background first."""
    files: Files
    stored: dict[int, int]
    """As in `dkd.data.index.Index`."""
    colours: dict[int, int]
    """As in `dkd.data.index.Index`."""


VOC_LISTS = (("train", ("trainaug", "train_aug")), ("val", ("val",)))


def parts(format: str, root: Path) -> tuple[str, ...]:
    """The files and folders that make up the content of a raw data set, of those that can be left out those there."""
    found = list(PARTS[format])
    if format == "folder":
        if (root / "labelmap.txt").exists():
            found += ["labelmap.txt"]
            found = [part for part in found if part != "classes.txt" or (root / part).exists()]
        found = [part for part in found if part != "splits" or (root / part).exists()]
    return tuple(found)


def class_names(format: str, root: Path | None) -> tuple[str, ...]:
    """Class names by label, background first; from `root`/classes.txt where the format has no fixed list.

    Raises InputError where the file is missing, empty, repeats a name or names more than 254 classes.
    """
    return FIXED[format] if format in FIXED else class_table.read(root).names


def contents(format: str, root: Path, stored: Mapping[int, int] | None, *, listed: bool) -> Contents:
    """Classes and files of a data set; `stored`: label of each stored value, None = as the format has it.

    `listed`: whether lists say which images are for training; else their split is "". Raises InputError as
    `class_names` and `list_files` do.
    """
    table = class_table.ClassTable(FIXED[format], {}) if format in FIXED else class_table.read(root)
    files = list_files(format, root) if listed else _unlisted(format, root)
    if strange := [path for _, *paths, _ in files for path in paths if not json_file.path(path)]:
        raise InputError(f"{root}: the name {strange[0]!r} is not UTF-8 text; rename the file")
    return Contents(table.names, files, dict(STORED[format] if stored is None else stored), table.colours)


def stored_labels(
    format: str, names: Sequence[str], labels: Mapping[str, Sequence[int]] | None, void: Sequence[int]
) -> dict[int, int]:
    """Label of each stored value, by what `data.labels` and `data.void` say; empty where values are labels.

    `labels`: the values of each class, by its name, `background` or `void`; without it values are as the format has
    them. `void`: values that are void. Raises InputError where a class is unknown or a value is given twice.
    """
    if labels is None:
        found = dict(STORED[format]) or {label: label for label in range(1, len(names))}
    else:
        known = {"background": 0, "void": classes.VOID, **{name: label for label, name in enumerate(names)}}
        found = {}
        for name, values in labels.items():
            if name not in known:
                raise InputError(f"data.labels: unknown class {name!r}; known: {', '.join(known)}")
            for value in values:
                if found.get(value, known[name]) != known[name]:
                    raise InputError(f"data.labels: value {value} is given to two classes; give it to one")
                found[value] = known[name]
        if twice := [
            value for value in void if value != classes.VOID and found.get(value, classes.VOID) != classes.VOID
        ]:
            raise InputError(
                f"data.void: value {twice[0]} is given to a class by data.labels; remove it from one of them"
            )
    extra = {value: classes.VOID for value in void if value != classes.VOID}
    if labels is None and not extra:
        return dict(STORED[format])
    return {**found, **extra}


def index_params(data: Mapping[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """Params of an index besides data set and format, from the section `data` of params.yaml: the labels of stored
    values where they are not the format's, and how images without lists are divided.

    Classes that `order` leaves out have no label.
    """
    format = data["format"]
    names = class_names(format, Path(data["root"]) if data["root"] else None)
    rest = 0 if data["others"] == "background" else classes.VOID
    stored = stored_labels(format, names, data["labels"], data["void"])
    stored = classes.keep_labels(stored, len(names) - 1, order, rest)
    params: dict[str, Any] = {}
    if stored != STORED[format]:
        params["stored"] = {str(value): label for value, label in sorted(stored.items())}
    if data["split"] is not None:
        params |= {"split": data["split"], "split_seed": data["split_seed"]}
    return params


def list_files(format: str, root: Path) -> Files:
    """Image, mask and split of every image.

    Raises InputError that names the file where a list or an image is missing, a list is not UTF-8 text or an id occurs
    twice.
    """
    return {"folder": _folder, "voc": _voc, "ade20k": _ade20k, "cityscapes": _cityscapes}[format](root)


def _voc(root: Path) -> Files:
    """VOC 2012 with the labels of SBD: JPEGImages, SegmentationClassAug, and the lists trainaug and val."""
    found = {}
    for split, names in VOC_LISTS:
        ways = [root / "ImageSets" / "Segmentation" / f"{name}.txt" for name in names]
        found[split] = next((path for path in ways if path.is_file()), None)
        if found[split] is None:
            raise InputError(f"{ways[0]}: missing; it lists the ids of the {split} images, one per line")
    return _by_lists(root, "JPEGImages", "SegmentationClassAug", found)


def _folder(root: Path) -> Files:
    """A folder data set: images/, masks/ and splits/{train,val[,test]}.txt."""
    found = {split: root / "splits" / f"{split}.txt" for split in ("train", "val", "test")}
    if not found["test"].exists():
        del found["test"]
    for split, path in found.items():
        if not path.exists():
            raise InputError(
                f"{path}: missing; it lists the ids of the {split} images, one per line. Without lists, "
                "`data.split: 0.8` (`dkd index --split 0.8`) divides the images"
            )
    return _by_lists(root, "images", "masks", found)


def _by_lists(root: Path, images: str, masks: str, paths: Mapping[str, Path]) -> Files:
    image_folder = lists.Folder(root, images, lists.IMAGES)
    mask_folder = lists.Folder(root, masks, lists.MASKS)
    files: Files = []
    seen: dict[str, Path] = {}
    for split, path in paths.items():
        before = len(files)
        for id, image, mask in lists.read_entries(path, image_folder, mask_folder):
            if id in seen:
                raise InputError(f"{path}: {id!r} is listed twice (also in {seen[id].name})")
            seen[id] = path
            files.append((id, image, mask, split))
        if len(files) == before:
            raise InputError(f"{path}: lists no image")
    return files


def _unlisted(format: str, root: Path) -> Files:
    """All images of a folder data set that have a mask."""
    if format != "folder":
        raise InputError(f"data.split: the format {format} has lists of its own; remove data.split (--split)")
    if found := sorted((root / "splits").glob("*.txt")):
        raise InputError(f"data.split: {found[0]} says which images are for training; remove one of the two")
    images = lists.Folder(root, "images", lists.IMAGES)
    paired, bare = lists.pairs(images, lists.Folder(root, "masks", lists.MASKS))
    if len(paired) < 2:
        raise InputError(f"{root}: {len(paired)} images have a mask; two are needed, to train and to evaluate on")
    if bare:
        log.warning("%s: %d images have no mask and are left out (%s, ...)", root / "images", len(bare), bare[0])
    return [(*pair, "") for pair in paired]


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
