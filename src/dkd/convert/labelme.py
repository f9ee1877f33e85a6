"""labelme's JSON, a file for each image. Drawn as labelme's own export draws: lines 10 pixels wide, points as discs.

Classes come in the order of the alphabet, since there is no list of them. A later shape lies on top of earlier ones.
"""

import base64
import binascii
import io
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from dkd.convert import values
from dkd.convert.images import Export, Finder, Item, find_images
from dkd.data.class_table import check_name
from dkd.errors import InputError, shown

LINE, POINT = 10, 5
"""Width of a line and radius of a point, in pixels."""
COUNTS = {
    "polygon": (3, None),
    "rectangle": (2, 2),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, None),
    "point": (1, 1),
    "mask": (2, 2),
}
"""How many points each kind of shape has: from, to."""

Shape = tuple[str, str, str, dict[str, Any]]


def read(paths: list[Path], root: Path) -> Export:
    """The JSON files `paths`, of images below `root` or embedded."""
    present = find_images(root)
    finder, names, items = Finder(root, present), set(), []
    for path in paths:
        content = values.json_object(path)
        if "shapes" not in content:
            raise InputError(f"{path}: shapes: missing, so labelme did not write it; move it elsewhere")
        shapes: list[Shape] = []
        for k, each in enumerate(values.objects(content, "shapes", path)):
            at = f"{path}: shapes[{k}]"
            kind = each.get("shape_type") or "polygon"
            if not isinstance(kind, str) or kind not in COUNTS:
                raise InputError(f"{at}.shape_type: {shown(kind)} has no area; draw a polygon, or remove it")
            shapes.append((at, check_name(each.get("label"), f"{at}.label"), kind, each))
        names.update(name for _, name, _, _ in shapes)
        called = check_name(content.get("imagePath"), f"{path}: imagePath")
        try:
            image = name = finder.find(called, f"{path}: imagePath", [path.parent])
        except InputError:
            if not content.get("imageData"):
                raise
            image, name = partial(_embedded, path), path
        # Old versions do not state the size.
        stated = [content.get(key) for key in ("imageWidth", "imageHeight")]
        size = None if stated == [None, None] else values.size(*stated, f"{path}: image ")
        items.append(Item(image, name, size, partial(_draw, shapes), str(path)))
    used = {item.image for item in items}
    return Export(sorted(names), items, sum(path not in used for path in present))


def _embedded(path: Path) -> bytes:
    return _decoded(values.json_object(path).get("imageData"), f"{path}: imageData")


def _decoded(content: object, where: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InputError(f"{where}: {shown(content)} is not base64; save it again with labelme") from None


def _draw(shapes: list[Shape], width: int, height: int, labels: Mapping[str, int]) -> np.ndarray:
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    for at, name, kind, shape in shapes:
        least, most = COUNTS[kind]
        points, label = values.points(shape.get("points"), width, height, f"{at}.points", least, most), labels[name]
        if kind == "polygon":
            pen.polygon(points, fill=label, outline=label)
        elif kind == "rectangle":
            (left, right), (top, bottom) = (sorted(axis) for axis in zip(*points, strict=True))
            pen.rectangle([left, top, right, bottom], fill=label, outline=label)
        elif kind == "mask":
            _paste(mask, shape.get("mask"), points, label, at)
        elif kind in ("circle", "point"):
            (x, y), radius = points[0], POINT if kind == "point" else math.dist(*points)
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=label, outline=label)
        else:
            pen.line(points, fill=label, width=LINE)
    return np.array(mask)


def _paste(mask: Image.Image, content: object, points: list[tuple[float, float]], label: int, at: str) -> None:
    """Put the image of a mask, from its first pixel to its last, into `mask`."""
    (left, top), (right, bottom) = (tuple(map(int, point)) for point in points)
    try:
        with Image.open(io.BytesIO(_decoded(content, f"{at}.mask"))) as found:
            stencil = found.convert("L").point(lambda value: 255 if value else 0)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise InputError(f"{at}.mask: not an image; remove it or draw it again") from None
    if stencil.size != (right - left + 1, bottom - top + 1):
        raise InputError(
            f"{at}.mask: is {stencil.width}x{stencil.height} pixels, its points make it {right - left + 1}x"
            f"{bottom - top + 1}; remove it or draw it again"
        )
    mask.paste(label, (left, top), stencil)
