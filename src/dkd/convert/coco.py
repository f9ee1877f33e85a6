"""COCO's instances as JSON: polygons, run lengths, compressed run lengths. Drawn as pycocotools draws them.

Classes come in the order of their category ids. Where instances overlap, the smaller one lies on top. Regions with
`iscrowd` are void as far as no instance covers them. An image without annotations is background.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dkd.convert import rle, values
from dkd.convert.images import Export, Finder, Item, find_images
from dkd.data.class_table import check_name
from dkd.data.classes import VOID
from dkd.errors import InputError, shown

KEYS = ("images", "annotations", "categories")


def read(paths: list[Path], root: Path) -> Export:
    """The JSON files `paths`, of images below `root`."""
    rle.require()
    finder, names, items = Finder(root, find_images(root)), [], []
    for path in paths:
        content = values.json_object(path)
        if missing := [key for key in KEYS if key not in content]:
            raise InputError(
                f"{path}: {missing[0]}: missing, so it does not hold instances of COCO; name the file that does"
            )
        categories = _by_id(content, "categories", path)
        called = {id: check_name(each.get("name"), f"{path}: {at}.name") for id, (at, each) in categories.items()}
        names += [called[id] for id in sorted(called, key=lambda id: (isinstance(id, str), id))]
        images = _by_id(content, "images", path)
        drawn: dict[int | str, list[tuple[str, str, dict[str, Any]]]] = {id: [] for id in images}
        for k, each in enumerate(values.objects(content, "annotations", path)):
            at = f"{path}: annotations[{k}]"
            image, category = each.get("image_id"), each.get("category_id")
            if not isinstance(image, int | str) or image not in images:
                raise InputError(f"{at}.image_id: {shown(image)} is not among images; remove it or list it")
            if not isinstance(category, int | str) or category not in called:
                raise InputError(f"{at}.category_id: {shown(category)} is not among categories; remove it or list it")
            drawn[image].append((at, called[category], each))
        # Where tools put the images of annotations/instances_train.json, say.
        part = path.stem.partition("_")[2]
        near = [path.parent, *(root / "images" / part, root / part) * bool(part), root / "images", root]
        for id, (at, each) in images.items():
            where = f"{path}: {at}"
            file = finder.find(check_name(each.get("file_name"), f"{where}.file_name"), f"{where}.file_name", near)
            size = values.size(each.get("width"), each.get("height"), f"{where}.")
            items.append(Item(file, file, size, partial(_draw, drawn[id]), where))
    return Export(names, items, unlabelled=0)


def _by_id(content: dict[str, Any], key: str, path: Path) -> dict[int | str, tuple[str, dict[str, Any]]]:
    found = {}
    for k, each in enumerate(values.objects(content, key, path)):
        id, at = each.get("id"), f"{key}[{k}]"
        if not isinstance(id, int | str) or id in found:
            reason = "is there twice" if isinstance(id, int | str) else "is no id"
            raise InputError(f"{path}: {at}.id: {shown(id)} {reason}; ids are numbers, each used once")
        found[id] = (at, each)
    return found


def _draw(
    annotations: list[tuple[str, str, dict[str, Any]]], width: int, height: int, labels: Mapping[str, int]
) -> np.ndarray:
    mask, instances = np.zeros((height, width), dtype=np.uint8), []
    for at, name, each in annotations:
        region = _region(each.get("segmentation"), width, height, f"{at}.segmentation")
        if each.get("iscrowd", 0) in (1, "1"):
            mask[rle.inside(region)] = VOID
        else:
            instances.append((region, labels[name]))
    for region, label in sorted(instances, key=lambda each: -rle.area(each[0])):
        mask[rle.inside(region)] = label
    return mask


def _region(found: object, width: int, height: int, where: str) -> rle.Rle:
    if isinstance(found, dict):
        if found.get("size") != [height, width]:
            raise InputError(
                f"{where}.size: is {shown(found.get('size'))}, its image's [{height}, {width}]; export again"
            )
        return rle.from_counts(found.get("counts"), width, height, f"{where}.counts")
    if not found or not isinstance(found, list):
        raise InputError(f"{where}: {shown(found)} is no outline (a box only?); draw one, or remove it")
    polygons = []
    for flat in found:
        if not isinstance(flat, list) or len(flat) % 2:
            raise InputError(f"{where}: {shown(flat)} is not a polygon [x, y, x, y, ...]; export it again")
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        polygons.append(values.points(pairs, width, height, where, least=3, most=None))
    return rle.from_polygons(polygons, width, height)
