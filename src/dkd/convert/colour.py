"""Masks in colours, as of VOC: SegmentationClass/ and JPEGImages/ (or masks/ and images/), and a list of colours.

The list is labelmap.txt as CVAT writes it in "Segmentation mask 1.1" (`name:r,g,b:parts:actions`), or classes.txt with
`name r g b` on each line; classes come in its order. Black is background and VOC's (224, 224, 192) void, if the list
gives them to no class.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from dkd.convert import values
from dkd.convert.pictures import Export, Finder, Item, files, pictures
from dkd.data.classes import VOID
from dkd.data.reader import read_image
from dkd.errors import InputError
from dkd.use.palette import VOID_COLOUR

LISTS = ("labelmap.txt", "classes.txt")
MASKS = ("SegmentationClass", "masks")
PICTURES = ("JPEGImages", "images")
LINES = {
    "labelmap.txt": (re.compile(r"(.+?)\s*:\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?::.*)?"), "name:r,g,b::"),
    "classes.txt": (re.compile(r"(.+?)[\s,:;]+(\d+)[\s,]+(\d+)[\s,]+(\d+)"), "name r g b"),
}


def there(root: Path) -> bool:
    """Whether `root` holds a list and masks."""
    return any((root / name).is_file() for name in LISTS) and any((root / name).is_dir() for name in MASKS)


def read(root: Path) -> Export:
    """The masks of `root` and their pictures."""
    path = next((root / name for name in LISTS if (root / name).is_file()), None)
    if path is None:
        raise InputError(f"{root / LISTS[0]}: missing; it gives each class a colour, on lines name:r,g,b::")
    colours = _colours(path)
    folder = next((root / name for name in MASKS if (root / name).is_dir()), None)
    if folder is None:
        raise InputError(f"{root / MASKS[0]}: missing; the masks lie there, as .png")
    masks = files(folder, [".png"])
    if not masks:
        raise InputError(f"{folder}: holds no .png; the masks lie there")
    places = [root / name for name in PICTURES if (root / name).is_dir()]
    if not places:
        raise InputError(f"{root / PICTURES[0]}: missing; the pictures lie there (CVAT: 'Save images')")
    lying = pictures(places[0])
    finder, items = Finder(places[0], lying), []
    for mask in masks:
        name = mask.relative_to(folder).with_suffix("").as_posix()
        file = finder.find(name, str(mask))
        items.append(Item(file, file, None, partial(_draw, mask, colours, path), str(mask)))
    used = {item.picture for item in items}
    return Export(list(dict.fromkeys(colours.values())), items, sum(each not in used for each in lying))


def _colours(path: Path) -> dict[int, str]:
    """Class name of each colour, as 0xRRGGBB."""
    pattern, form = LINES[path.name]
    found: dict[int, str] = {}
    for number, line in enumerate(values.text(path).splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{path}: line {number}"
        match = pattern.fullmatch(line)
        if match is None:
            raise InputError(f"{where}: {values.shown(line)} is not {form}; give the class its colour")
        red, green, blue = (values.whole(value, where, 0) for value in match.groups()[1:])
        if max(red, green, blue) > 255:
            raise InputError(f"{where}: colour {red},{green},{blue} has a part above 255; mend it")
        colour = red << 16 | green << 8 | blue
        if colour in found:
            raise InputError(f"{where}: has the colour of {found[colour]!r}; give each class a colour of its own")
        found[colour] = values.name(match[1], where)
    return found


def _draw(path: Path, colours: dict[int, str], listed: Path, width: int, height: int, labels: Mapping[str, int]):
    red, green, blue = VOID_COLOUR
    table = {0: 0, red << 16 | green << 8 | blue: VOID, **{colour: labels[name] for colour, name in colours.items()}}
    known = np.array(sorted(table), dtype=np.uint32)
    pixels = read_image(path).astype(np.uint32)
    code = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    at = np.searchsorted(known, code).clip(max=len(known) - 1)
    strange = np.argwhere(known[at] != code)
    if len(strange):
        y, x = strange[0]
        colour = ",".join(map(str, pixels[y, x]))
        raise InputError(
            f"{path}: colour {colour} (x {x}, y {y}; {len(strange)} pixels in all) is not in {listed.name}; add it "
            "there, or export masks without smoothing"
        )
    return np.array([table[colour] for colour in known.tolist()], dtype=np.uint8)[at]
