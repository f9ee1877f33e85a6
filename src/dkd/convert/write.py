"""Writes a folder data set from images and what is drawn on them. Knows nothing of any tool.

Images are written upright and as JPEG or PNG, so that other programs see them as `dkd.data.reader` does. What needs
no change is copied byte by byte. All is made beside `out` and renamed as the last act.
"""

import os
import re
import shutil
import struct
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from dkd import cores
from dkd.convert.images import Export, Item
from dkd.data import class_table, reader
from dkd.data.classes import VOID
from dkd.data.division import divide
from dkd.errors import InputError
from dkd.files import temporary_folder
from dkd.use import palette

SUFFIX = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png"}
PLAIN = ("1", "L", "P", "RGB", "CMYK")
"""Modes that the reader of data sets turns into the RGB that people see."""


class Summary(NamedTuple):
    """What was made: class names (background first), images of each split, and what the user may want to know.

    `turned`: images that EXIF said to turn; `empty`: those that show no class; `unlabelled`: images of the export
    that nobody labelled, which are left out; `unused`: classes that no image shows, which are left out.
    """

    format: str
    names: tuple[str, ...]
    train: int
    val: int
    turned: int
    empty: int
    unlabelled: int
    unused: tuple[str, ...]


def write(export: Export, out: Path, *, source: Path, format: str, split: float, seed: int) -> Summary:
    """Make the folder data set `out`, with `split` of the images for training.

    Raises InputError where two annotations are for one image, an image is missing, damaged or of another size than
    its annotation, or there is nothing to learn.
    """
    names, labels = class_table.labels(export.names, source)
    files: dict[Path, str] = {}
    for item in export.items:
        if isinstance(item.image, Path):
            place = _absolute(item.image)
            if place in files:
                raise InputError(
                    f"{item.where}: its image {item.image} is that of {files[place]} too; remove one of them"
                )
            files[place] = item.where
    if len(export.items) < 2:
        raise InputError(f"{source}: {len(export.items)} labelled images; two are needed, to train and to evaluate on")
    items = dict(zip(ids([item.name for item in export.items]), export.items, strict=True))
    out.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(out.parent) as scratch:
        place = scratch / out.name
        for folder in ("images", "masks", "splits"):
            (place / folder).mkdir(parents=True)

        def one(pair: tuple[str, Item]) -> tuple[list[int], bool]:
            return _write_one(*pair, place, labels)

        with ThreadPoolExecutor(cores.available()) as pool:
            done = pool.map(one, items.items())
            found = list(tqdm(done, total=len(items), desc="convert", disable=None, leave=False))
        shown = {id: present for id, (present, _) in zip(items, found, strict=True)}
        used = sorted({label for present in shown.values() for label in present})
        if not used:
            raise InputError(f"{source}: no image shows any class; label some first")
        table = np.zeros(256, dtype=np.uint8)
        table[[*used, VOID]] = [*range(1, len(used) + 1), VOID]
        colours = [part for colour in palette.colours(len(used) + 1) for part in colour]
        for id in items:
            path = place / "masks" / f"{id}.png"
            with Image.open(path) as mask:
                final = Image.fromarray(table[np.asarray(mask)], mode="P")
            final.putpalette(colours)
            final.save(path)
        kept = ["background", *(names[label] for label in used)]
        (place / "classes.txt").write_text("\n".join(kept) + "\n", encoding="utf-8", newline="\n")
        train, val = divide(shown, split, seed)
        for name, listed in (("train", train), ("val", val)):
            (place / "splits" / f"{name}.txt").write_text("\n".join(listed) + "\n", encoding="utf-8", newline="\n")
        if out.exists():
            raise InputError(f"{out}: exists already; remove it or name another folder")
        place.rename(out)
    return Summary(
        format=format,
        names=tuple(kept),
        train=len(train),
        val=len(val),
        turned=sum(turned for _, turned in found),
        empty=sum(not present for present in shown.values()),
        unlabelled=export.unlabelled,
        unused=tuple(name for name in names[1:] if name not in kept),
    )


def ids(names: list[Path]) -> list[str]:
    """An id for each path: its folders below the one they all share, and its name, without blanks and suffix.

    Where two would be equal, in capitals or small letters, the later path gets a number.
    """
    paths = [_absolute(name) for name in names]
    top = os.path.commonpath([path.parent for path in paths])
    found: dict[Path, str] = {}
    taken: set[str] = set()
    for path in sorted(paths, key=lambda path: path.as_posix()):
        parts = (*path.parent.relative_to(top).parts, path.stem)
        plain = re.sub(r"\s+", "_", unicodedata.normalize("NFC", "_".join(parts)))
        try:
            plain.encode()
        except UnicodeEncodeError:
            raise InputError(f"{path}: the name is not UTF-8 text; rename it") from None
        id, number = plain, 1
        while id.casefold() in taken:
            number += 1
            id = f"{plain}-{number}"
        taken.add(id.casefold())
        found[path] = id
    return [found[path] for path in paths]


def _absolute(path: Path) -> Path:
    """Without following links: DVC may lay a file out as a link to a digest."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _write_one(id: str, item: Item, place: Path, labels: dict[str, int]) -> tuple[list[int], bool]:
    """Write an image and its mask; the labels it shows (no background, no void), and whether it had to be turned."""
    embedded = None if isinstance(item.image, Path) else item.image()
    where = str(item.image) if embedded is None else f"{item.where}: imageData"
    try:
        with Image.open(item.image if embedded is None else BytesIO(embedded)) as image:
            kind, stored, orientation = image.format, image.size, image.getexif().get(reader.ORIENTATION, 1)
            plain = image.mode in PLAIN and not image.has_transparency_data
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = "not an image" if not str(error) or "identify" in str(error) else error
        raise InputError(f"{where}: can't be read ({reason}); replace it, or remove its annotation") from None
    turned = orientation in reader.TURNS
    upright = stored[::-1] if orientation in reader.SIDEWAYS else stored
    _check_size(item.size or upright, upright, stored, item.where, where)
    mask = item.draw(*(item.size or upright), labels)
    _check_size(mask.shape[::-1], upright, stored, item.where, where)
    if mask.shape[::-1] != upright:
        mask = np.array(reader.upright(Image.fromarray(mask), orientation))

    suffix = SUFFIX.get(kind, "png")
    path = place / "images" / f"{id}.{suffix}"
    if embedded is None:
        shutil.copyfile(item.image, path)
    else:
        path.write_bytes(embedded)
    try:
        pixels = reader.read_image(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), where)) from None
    if turned or not plain or kind not in SUFFIX:
        options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
        Image.fromarray(pixels).save(path, **options)
    # Without a palette for now: which classes are left is not known before all are drawn.
    Image.fromarray(mask).save(place / "masks" / f"{id}.png", compress_level=1)
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    return [label for label in present if label not in (0, VOID)], turned


def _check_size(
    size: tuple[int, int], upright: tuple[int, int], stored: tuple[int, int], where: str, image: str
) -> None:
    if size not in (upright, stored):
        found = f"{stored[0]}x{stored[1]}"
        if upright != stored:
            found += f" as stored and {upright[0]}x{upright[1]} turned as its EXIF says"
        raise InputError(
            f"{where}: is for an image of {size[0]}x{size[1]} pixels, {image} has {found} ; "
            "use the image that was labelled, or label this one"
        )
