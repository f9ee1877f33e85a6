"""Masks in colours, as of VOC: SegmentationClass/ and JPEGImages/ (or masks/ and images/), and a list of colours.

The list is labelmap.txt as CVAT writes it in "Segmentation mask 1.1" (`name:r,g,b:parts:actions`), or classes.txt with
`name r g b` on each line, or class_names.txt as labelme's script labelme2voc writes it: the name on line k has the k-th
colour of the VOC devkit. Classes come in the order of the list. Black is background and VOC's (224, 224, 192) void, if
the list gives them to no class.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from dkd.convert.images import Export, Finder, Item, files, find_images
from dkd.data.class_table import check_name, read_colours, with_defaults
from dkd.data.classes import MAX_CLASSES, VOID
from dkd.data.lists import read_lines
from dkd.data.mask_values import decode_colours
from dkd.data.reader import read_image
from dkd.errors import InputError
from dkd.use import palette

NAMES = "class_names.txt"
LISTS = ("labelmap.txt", "classes.txt", NAMES)
MASKS = ("SegmentationClass", "masks")
IMAGES = ("JPEGImages", "images")


def there(root: Path) -> bool:
    """Whether `root` holds a list and masks."""
    return any((root / name).is_file() for name in LISTS) and any((root / name).is_dir() for name in MASKS)


def read(root: Path) -> Export:
    """The masks of `root` and their images."""
    path = next((root / name for name in LISTS if (root / name).is_file()), None)
    if path is None:
        raise InputError(f"{root / LISTS[0]}: missing; it gives each class a colour, on lines name:r,g,b::")
    colours = _vocs_colours(path) if path.name == NAMES else read_colours(path)
    folder = next((root / name for name in MASKS if (root / name).is_dir()), None)
    if folder is None:
        raise InputError(f"{root / MASKS[0]}: missing; the masks are expected there, as .png")
    masks = files(folder, [".png"])
    if not masks:
        raise InputError(f"{folder}: holds no .png; the masks are expected there")
    places = [root / name for name in IMAGES if (root / name).is_dir()]
    if not places:
        raise InputError(f"{root / IMAGES[0]}: missing; the images are expected there (CVAT: 'Save images')")
    present = find_images(places[0])
    finder, items = Finder(places[0], present), []
    for mask in masks:
        name = mask.relative_to(folder).with_suffix("").as_posix()
        file = finder.find(name, str(mask), [])
        items.append(Item(file, file, None, partial(_draw, mask, colours, path), str(mask)))
    used = {item.image for item in items}
    return Export(list(dict.fromkeys(colours.values())), items, sum(each not in used for each in present))


def _vocs_colours(path: Path) -> dict[int, str]:
    table, found = palette.colours(VOID + 1), {}
    for number, name in read_lines(path):
        where = f"{path}: line {number}"
        if number > VOID:
            raise InputError(f"{where}: masks have room for {MAX_CLASSES} classes; leave some out, and export again")
        red, green, blue = table[number - 1]
        found[red << 16 | green << 8 | blue] = check_name(name, where)
    return found


def _draw(path: Path, colours: dict[int, str], listed: Path, width: int, height: int, labels: Mapping[str, int]):
    table = with_defaults({colour: labels[name] for colour, name in colours.items()})
    return decode_colours(read_image(path), table, path, listed.name)
