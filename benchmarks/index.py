"""Time to read all masks once, and time and memory of the splits of all steps from the index."""

import random
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from benchmarks import measure
from benchmarks.loader import CLASSES, draw
from dkd.data import catalog, index, reader, survey, tasks

TRAIN, VAL = 10582, 1449
FROM_PIXELS, COUNTED = "index of all masks, counted from their pixels", "index of all masks, once per data set"
NAMES = ("background", *(f"class {k}" for k in range(1, CLASSES + 1)))


def count_pixels(path: Path, colours: Mapping[int, int]) -> reader.Counts:
    """`reader.count_mask` as it was: from the array of pixels, with the palette read again."""
    values = reader.read_mask(path, colours)
    with Image.open(path) as mask:
        palette = bytes(mask.getpalette("RGB") or ()) if mask.mode == "P" else b""
    return reader.Counts(np.bincount(values.ravel(), minlength=256), values.shape, palette)


def compressed(path: Path) -> bytes:
    """The compressed pixels of a PNG file."""
    content, found, at = path.read_bytes(), [], 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] == b"IDAT":
            found.append(content[at + 8 : at + 8 + length])
        at += length + 12
    return b"".join(found)


def splits(table: index.Index, order: tuple[int, ...], sizes: tuple[int, ...]) -> measure.Variants:
    return {"split": lambda: tasks.split(table, setting="overlap", order=order, sizes=sizes, seed=None)}


def main() -> None:
    measure.start()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = [tuple(row[:4]) for row in draw(root)]
        contents = catalog.Contents(NAMES, files, {}, {})

        def build() -> None:
            survey.build(root, "x", contents, decode=False, split=None)

        def from_pixels() -> None:
            with mock.patch.object(reader, "count_mask", count_pixels):
                build()

        def inflate() -> None:
            for file in files:
                zlib.decompress(compressed(root / file[2]))

        taken = measure.rounds({FROM_PIXELS: from_pixels, COUNTED: build, "limit": inflate}, 9)
        each = {name: time / len(files) for name, time in measure.medians(taken).items()}
    chance = random.Random(0)
    rows = tuple(
        index.Row(f"2008_{i:06}", "", "", "train" if i < TRAIN else "val", tuple(sorted(shown)))
        for i, shown in enumerate(
            chance.sample(range(1, CLASSES + 1), chance.randint(1, 4)) for _ in range(TRAIN + VAL)
        )
    )
    table, order, sizes = index.Index("x", NAMES, rows, {}, {}), tuple(range(1, CLASSES + 1)), (15, 1, 1, 1, 1, 1)
    split = measure.seconds(splits(table, order, sizes), 9)["split"]
    lines = [
        (FROM_PIXELS, each[FROM_PIXELS] * len(rows) * 1e3, ""),
        (COUNTED, each[COUNTED] * len(rows) * 1e3, measure.faster(taken, FROM_PIXELS, COUNTED)),
        (f"split into {len(sizes)} steps", split * 1e3, ""),
        ("one step of it", split / len(sizes) * 1e3, ""),
    ]
    head = (f"{len(rows)} images of 500 x 375 (index scaled from {len(files)})", "ms", "times faster")
    measure.table(head, lines)
    scaled = {
        name: [time * len(rows) / len(files) for time in taken[key]]
        for name, key in (("before", FROM_PIXELS), ("dkd", COUNTED), ("limit", "limit"))
    }
    measure.line(f"index of {len(rows)} masks", scaled)
    print(f"peak memory of a split: {measure.peak(splits, 'split', table, order, sizes):.1f} MB")


if __name__ == "__main__":
    main()
