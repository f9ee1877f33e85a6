"""Makes the index of a data set by reading every mask once, and tells what was seen: sizes, classes, what looks wrong.

Knows neither steps nor the file layouts of data sets (`dkd.data.catalog` lists the files).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dkd import cores
from dkd.data import classes, division, reader
from dkd.data.catalog import Contents
from dkd.data.classes import VOID, Encoding
from dkd.data.index import Index, Row
from dkd.errors import InputError

VERY_DIFFERENT = 16
"""Ratio of the areas of two images from which on their sizes are worth a warning."""


class Share(NamedTuple):
    """How images without lists are divided: the `share` for training, 0 < share < 1, drawn by `seed`."""

    share: float
    seed: int


class Seen(NamedTuple):
    """What was seen of an image and its mask."""

    counts: np.ndarray
    """(256,) int: pixels of each value of the mask."""
    size: tuple[int, int]
    """(height, width)."""
    orientation: int
    """EXIF orientation of the image; 1 where there is none."""
    palette: dict[int, bytes]
    """RGB colour that the mask's palette has for each value that it shows; empty where it has none."""


class ClassCount(NamedTuple):
    """How often a class is seen."""

    name: str
    train: int
    """Training images that show it."""
    evaluated: int
    """Images that show it and that networks are evaluated on."""
    share: float
    """Of all pixels that are not void, 0..1."""


class Survey(NamedTuple):
    """What was seen of a data set."""

    images: dict[str, int]
    """Number of images by split."""
    classes: tuple[ClassCount, ...]
    """Background first, then all classes by label."""
    warnings: tuple[str, ...]
    """One line each: what may be wrong with the data, and what to do."""


def build(root: Path, dataset: str, contents: Contents, *, decode: bool, split: Share | None) -> tuple[Index, Survey]:
    """Read every mask under `root`, and every image if `decode`; the index, and what was seen.

    `split` divides images whose split is "". Raises InputError that names the file where an image or mask is missing,
    unreadable or of another size than its partner, or where a mask holds a value that is neither background, void nor
    that of a class.
    """
    table = classes.value_to_label(contents.stored)
    values = classes.known_values(contents.stored, len(contents.class_names))
    encoding = Encoding(frozenset(values), contents.colours)

    def look(entry: tuple[str, str, str, str]) -> tuple[Row, Seen]:
        id, image, mask, name = entry
        seen = _look(root / image, root / mask, encoding, decode)
        present = np.flatnonzero(seen.counts)
        return Row(id, image, mask, name, tuple(sorted({*table[present].tolist()} - {0, VOID}))), seen

    with ThreadPoolExecutor(cores.available()) as pool:
        files = contents.files
        try:
            found = list(tqdm(pool.map(look, files), total=len(files), desc="index", disable=None, leave=False))
        finally:
            # After an error or a signal, the images that are left need not be read.
            pool.shutdown(wait=False, cancel_futures=True)
    if split is not None:
        train, _ = division.divide({row.id: row.classes for row, _ in found}, split.share, split.seed)
        chosen = set(train)
        found = [(row._replace(split="train" if row.id in chosen else "val"), seen) for row, seen in found]
    found.sort(key=lambda each: (each[0].split, each[0].id))
    rows = tuple(row for row, _ in found)
    index = Index(dataset, contents.class_names, rows, contents.stored, contents.colours)
    return index, _survey(index, [seen for _, seen in found])


def _look(image: Path, mask: Path, encoding: Encoding, decode: bool) -> Seen:
    (counts, size, palette), facts = reader.count_mask(mask, encoding.colours), reader.image_facts(image, decode=decode)
    reader.check_size(image, mask, size, facts)
    present = np.flatnonzero(counts).tolist()
    if unknown := [value for value in present if value not in encoding.values]:
        last = max(encoding.values - {VOID})
        raise InputError(
            f"{mask}: label {unknown[0]} is outside the class list (0..{last}, {VOID} = void); if it stands for a "
            "class or for void, data.labels or data.void can say so"
        )
    shown = present if palette and not encoding.colours else ()
    colours = {value: palette[3 * value : 3 * value + 3] for value in shown}
    return Seen(counts, facts.size, facts.orientation, colours)


def table(survey: Survey) -> str:
    """The number of images, and a line per class: images that show it, and its share of the labelled pixels."""
    width = max(len(each.name) for each in survey.classes)
    lines = [", ".join(f"{count} {split} images" for split, count in survey.images.items())]
    lines.append(f"{'class':{width}}  {'train':>7} {'evaluate':>8} {'pixels':>8}")
    for name, train, evaluated, share in survey.classes:
        lines.append(f"{name:{width}}  {train:>7} {evaluated:>8} {share:>8.2%}")
    return "\n".join(lines)


def _survey(index: Index, seen: Sequence[Seen]) -> Survey:
    labels = classes.value_to_label(index.stored)
    values = sum((each.counts for each in seen), np.zeros(256, dtype=np.int64))
    pixels = np.bincount(labels, weights=values, minlength=256)[: len(index.class_names)]
    splits = {row.split: 0 for row in index.rows}
    shown = {split: np.zeros(256, dtype=int) for split in (*splits, "train", "val")}
    for row, each in zip(index.rows, seen, strict=True):
        splits[row.split] += 1
        shown[row.split][np.unique(labels[each.counts > 0])] += 1
    tested = shown["test" if "test" in splits else "val"]
    counts = tuple(
        ClassCount(name, int(shown["train"][label]), int(tested[label]), float(pixels[label] / max(pixels.sum(), 1)))
        for label, name in enumerate(index.class_names)
    )
    reachable = classes.labels_of(index.stored, len(counts) - 1)
    return Survey(
        dict(sorted(splits.items())),
        tuple(each for label, each in enumerate(counts) if label in reachable or not label),
        tuple(_warnings(index, seen, values, [counts[label] for label in reachable])),
    )


def _warnings(index: Index, seen: Sequence[Seen], values: np.ndarray, counts: Sequence[ClassCount]) -> Iterator[str]:
    if set(np.flatnonzero(values).tolist()) == {0, VOID} and not index.stored:
        yield (
            "all masks hold 0 and 255 only, and 255 is void, so no class is labelled; if 255 stands for a class, name "
            "it with data.labels: {NAME: 255}"
        )
    elif missing := [each.name for each in counts if not each.train]:
        yield f"no training image shows {_listed(missing)}; leave these classes out of `order`, or label some images"
    if untested := [each.name for each in counts if each.train and not each.evaluated]:
        yield f"no image to evaluate on shows {_listed(untested)}; move some images that do to that split"
    if turned := [row.id for row, each in zip(index.rows, seen, strict=True) if each.orientation != 1]:
        yield (
            f"{len(turned)} images ({turned[0]!r}, ...) are turned as their EXIF orientation says; check that their "
            "masks were drawn on the upright images"
        )
    if (different := _palettes(index.rows, seen)) is not None:
        yield different
    areas = [each.size[0] * each.size[1] for each in seen]
    if areas and max(areas) >= VERY_DIFFERENT * min(areas):
        small, large = (seen[areas.index(find(areas))].size for find in (min, max))
        yield (
            f"images are of very different size, from {small[1]}x{small[0]} to {large[1]}x{large[0]} pixels; crops of "
            "train.crop pixels show very different shares of them"
        )


def _palettes(rows: Sequence[Row], seen: Sequence[Seen]) -> str | None:
    """A warning where two masks have different colours for a value: their values may have different meanings."""
    first: dict[int, tuple[bytes, Row]] = {}
    for row, each in zip(rows, seen, strict=True):
        for value, colour in each.palette.items():
            known, other = first.setdefault(value, (colour, row))
            if known != colour:
                return (
                    f"palettes differ: value {value} is {_rgb(known)} in {other.mask}, but {_rgb(colour)} in "
                    f"{row.mask}; if colours tell the classes, list them in classes.txt (`name r g b`), so that "
                    "masks are read by colour"
                )
    return None


def _rgb(colour: bytes) -> str:
    return ",".join(map(str, colour)) or "missing"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
