"""CVAT's XML, "CVAT for images 1.1". Drawn with pycocotools, as CVAT's own export of masks is.

Classes come in the order of the task's labels. Shapes lie over each other as their z_order says, equal ones as they
come. An image without shapes is background. (CVAT's "Segmentation mask 1.1" is read by `dkd.convert.colour`.)
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from dkd.convert import rle, values
from dkd.convert.images import Export, Finder, Item, find_images
from dkd.data.class_table import check_name
from dkd.errors import InputError, shown

SHAPES = ("polygon", "box", "ellipse", "mask")
ARC = 256
"""Corners of the polygon that stands for an ellipse."""

Shape = tuple[str, str, ET.Element]


def read(paths: list[Path], root: Path) -> Export:
    """The XML files `paths`, of images below `root`."""
    rle.require()
    present = find_images(root)
    finder, names, items = Finder(root, present), [], []
    for path in paths:
        content = values.xml_root(path)
        if content.tag != "annotations":
            raise InputError(f"{path}: <{content.tag}>: CVAT writes <annotations>; name the file that has it")
        if content.find("track") is not None:
            raise InputError(f"{path}: <track>: is 'CVAT for video'; export as 'CVAT for images 1.1'")
        for label in content.iterfind("meta//labels/label"):
            names.append(check_name(label.findtext("name"), f"{path}: <label><name>"))
        for image in content.iterfind("image"):
            where = f"{path}: image {shown(image.get('name'))}"
            shapes = [(f"{where}: <{each.tag}>", each) for each in image if each.tag != "tag"]
            for at, each in shapes:
                if each.tag not in SHAPES:
                    raise InputError(f"{at}: has no area; draw a polygon, or remove it")
            drawn = [(at, check_name(each.get("label"), f"{at} label"), each) for at, each in shapes]
            drawn.sort(key=lambda each: values.number(each[2].get("z_order", 0), f"{each[0]} z_order"))
            names += [name for _, name, _ in drawn]
            # Projects export a folder for each subset.
            near = [root / "images" / image.get("subset", ""), root / "images", path.parent]
            file = finder.find(check_name(image.get("name"), where), where, near)
            size = values.size(image.get("width"), image.get("height"), f"{where}: ")
            items.append(Item(file, file, size, partial(_draw, drawn), where))
    used = {item.image for item in items}
    return Export(names, items, sum(path not in used for path in present))


def _draw(shapes: list[Shape], width: int, height: int, labels: Mapping[str, int]) -> np.ndarray:
    mask = np.zeros((height, width), dtype=np.uint8)
    for at, name, shape in shapes:
        if shape.tag == "mask":
            left, top, pixels = _pixels(shape, width, height, at)
            mask[top : top + pixels.shape[0], left : left + pixels.shape[1]][pixels] = labels[name]
        else:
            outline = values.points(_outline(shape, at), width, height, at, least=3, most=None)
            mask[rle.inside(rle.from_polygons([outline], width, height))] = labels[name]
    return mask


def _outline(shape: ET.Element, at: str) -> list[list]:
    """Points of a polygon, a box or an ellipse; CVAT turns the last two clockwise, in degrees."""
    if shape.tag == "polygon":
        return [point.split(",") for point in shape.get("points", "").split(";")]

    def of(*keys: str) -> list[float]:
        return [values.number(shape.get(key), f"{at} {key}") for key in keys]

    if shape.tag == "box":
        left, top, right, bottom = of("xtl", "ytl", "xbr", "ybr")
        x, y = (left + right) / 2, (top + bottom) / 2
        corners = [(left - x, top - y), (right - x, top - y), (right - x, bottom - y), (left - x, bottom - y)]
    else:
        x, y, rx, ry = of("cx", "cy", "rx", "ry")
        turns = [2 * math.pi * k / ARC for k in range(ARC)]
        corners = [(rx * math.cos(turn), ry * math.sin(turn)) for turn in turns]
    angle = values.number(shape.get("rotation", 0), f"{at} rotation")
    if not math.isfinite(angle):
        raise InputError(f"{at} rotation: {angle} is not an angle; remove the shape or draw it again")
    cos, sin = (math.cos(math.radians(angle)), math.sin(math.radians(angle))) if angle else (1.0, 0.0)
    return [[x + u * cos - v * sin, y + u * sin + v * cos] for u, v in corners]


def _pixels(shape: ET.Element, width: int, height: int, at: str) -> tuple[int, int, np.ndarray]:
    """Left, top and pixels (h, w) bool of a mask: runs row by row within its box, background first."""
    left, top = (values.whole(shape.get(key), f"{at} {key}", 0) for key in ("left", "top"))
    w, h = values.size(shape.get("width"), shape.get("height"), f"{at} ")
    if left + w > width or top + h > height:
        raise InputError(f"{at}: {w}x{h} pixels at {left},{top} leave the image of {width}x{height}; draw it again")
    runs = [values.whole(run, f"{at} rle", 0) for run in shape.get("rle", "").split(",")]
    if sum(runs) != w * h:
        raise InputError(f"{at} rle: the runs add up to {sum(runs)} pixels, its box has {w}x{h}; export it again")
    return left, top, np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(h, w)
