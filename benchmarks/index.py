"""Time to read all masks once, and time and memory of the splits of all steps from the index."""

import random
import tempfile
from pathlib import Path

from benchmarks import measure
from benchmarks.loader import CLASSES, draw
from dkd.data import catalog, index, survey, tasks

TRAIN, VAL = 10582, 1449
NAMES = ("background", *(f"class {k}" for k in range(1, CLASSES + 1)))


def splits(table: index.Index, order: tuple[int, ...], sizes: tuple[int, ...]) -> measure.Variants:
    return {"split": lambda: tasks.split(table, setting="overlap", order=order, sizes=sizes, seed=None)}


def main() -> None:
    measure.start()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = [tuple(row[:4]) for row in draw(root)]
        contents = catalog.Contents(NAMES, files, {}, {})
        read = measure.seconds({"": lambda: survey.build(root, "x", contents, decode=False, split=None)}, 5)[""] / len(
            files
        )
    chance = random.Random(0)
    rows = tuple(
        index.Row(f"2008_{i:06}", "", "", "train" if i < TRAIN else "val", tuple(sorted(shown)))
        for i, shown in enumerate(
            chance.sample(range(1, CLASSES + 1), chance.randint(1, 4)) for _ in range(TRAIN + VAL)
        )
    )
    table, order, sizes = index.Index("x", NAMES, rows, {}, {}), tuple(range(1, CLASSES + 1)), (15, 1, 1, 1, 1, 1)
    split = measure.seconds(splits(table, order, sizes), 9)["split"]
    every = read * len(rows) * len(sizes)
    lines = [
        ("all masks for every step", every * 1e3, 1.0),
        ("index of all masks, once per data set", read * len(rows) * 1e3, len(sizes)),
        (f"split into {len(sizes)} steps", split * 1e3, every / split),
        ("one step of it", split / len(sizes) * 1e3, every / split * len(sizes)),
    ]
    head = (f"{len(rows)} images of 500 x 375 (index scaled from {len(files)})", "ms", "times faster")
    measure.table(head, lines)
    print(f"peak memory of a split: {measure.peak(splits, 'split', table, order, sizes):.1f} MB")


if __name__ == "__main__":
    main()
