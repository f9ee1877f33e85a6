"""Outlines and run lengths as pycocotools has them, which is what COCO and CVAT draw with.

A run-length mask counts pixels column by column, background first. pycocotools trusts what it is given, so runs are
checked here to add up to the image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dkd.convert import values
from dkd.errors import InputError, shown

try:
    from pycocotools import mask as coco_mask
except ImportError:
    coco_mask = None

Rle = dict[str, Any]


def require() -> None:
    """Raises InputError where pycocotools is missing."""
    if coco_mask is None:
        raise InputError("--format: exports of COCO and CVAT need pycocotools: pip install 'dkd[convert]'")


def from_polygons(polygons: Sequence[Sequence[tuple[float, float]]], width: int, height: int) -> Rle:
    """All that lies within one of the polygons, whose points are (x, y) in pixels."""
    flat = [np.asarray(polygon, dtype=np.float64).ravel().tolist() for polygon in polygons]
    return coco_mask.merge(coco_mask.frPyObjects(flat, height, width))


def from_counts(counts: object, width: int, height: int, where: str) -> Rle:
    """A mask of COCO: run lengths as a list, or as the text that they are compressed to."""
    runs = _runs(counts, where) if isinstance(counts, str) else counts
    if not isinstance(runs, list):
        raise InputError(f"{where}: {shown(counts)} is neither a list nor text; export it again")
    runs = [values.whole(run, where, 0) for run in runs]
    if sum(runs) != width * height:
        raise InputError(
            f"{where}: the runs add up to {sum(runs)} pixels, the image has {width}x{height}; export it again"
        )
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)


def area(rle: Rle) -> int:
    """Pixels in it."""
    return int(coco_mask.area(rle))


def inside(rle: Rle) -> np.ndarray:
    """The pixels (height, width) bool."""
    return coco_mask.decode(rle).astype(bool)


def _runs(compressed: str, where: str) -> list[int]:
    """Run lengths from COCO's text: 5 bits a character from "0" on, the sixth says that more follow; from the fourth
    run on, it is the difference to the run two before."""
    runs, value, shift = [], 0, 0
    for character in compressed:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError(f"{where}: {shown(compressed)} is not what COCO compresses to; export it again")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise InputError(f"{where}: {shown(compressed)} breaks off; export it again")
    return runs
