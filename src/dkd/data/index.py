"""The index: one row per image with the classes that its mask shows, made by reading every mask once.

Knows neither steps nor the file layouts of data sets. All later stages read this table to find images by class, and
never read masks for that.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dkd import cores, files
from dkd.data import classes, reader
from dkd.data.classes import VOID
from dkd.errors import InputError

HEADER = ("id", "image", "mask", "split", "classes")


class Row(NamedTuple):
    """One image: paths relative to the data set's root; `classes` = labels present, without background and void."""

    id: str
    image: str
    mask: str
    split: str
    classes: tuple[int, ...]


class Index(NamedTuple):
    """All images of a data set, sorted by split and id."""

    dataset: str
    class_names: tuple[str, ...]
    """By label, background first."""
    rows: tuple[Row, ...]
    stored: dict[int, int]
    """Label of each value that masks store; empty where values are labels (`dkd.data.classes`)."""

    def of(self, split: str) -> list[Row]:
        """Rows of the split train, val or test."""
        return [row for row in self.rows if row.split == split]

    def test_rows(self) -> list[Row]:
        """Rows that networks are evaluated on (`test_split`)."""
        return self.of(test_split(row.split for row in self.rows))


def test_split(splits: Iterable[str]) -> str:
    """The split that networks are evaluated on: "test" if it is among `splits`, otherwise "val"."""
    return "test" if "test" in splits else "val"


def build(
    root: Path,
    dataset: str,
    class_names: tuple[str, ...],
    files: Sequence[tuple[str, str, str, str]],
    stored: dict[int, int],
) -> Index:
    """Read every mask under `root`; `files` are (id, image, mask, split) with paths relative to `root`.

    `stored`: as in Index. Raises InputError that names the file where an image or mask is missing, unreadable or of
    another size than its partner, or where a mask holds a value that is neither 0, 255 nor in the class list.
    """
    table, known = classes.value_to_label(stored), classes.known_values(stored, len(class_names))

    def row(entry: tuple[str, str, str, str]) -> Row:
        id, image, mask, split = entry
        present = _values(root, image, mask)
        if unknown := [value for value in present if value not in known]:
            last = max(known - {VOID})
            raise InputError(f"{root / mask}: label {unknown[0]} is outside the class list (0..{last}, {VOID} = void)")
        return Row(id, image, mask, split, tuple(sorted({*table[present].tolist()} - {0, VOID})))

    with ThreadPoolExecutor(cores.available()) as pool:
        rows = list(tqdm(pool.map(row, files), total=len(files), desc="index", disable=None, leave=False))
    return Index(dataset, class_names, tuple(sorted(rows, key=lambda row: (row.split, row.id))), stored)


def _values(root: Path, image: str, mask: str) -> list[int]:
    """Values that a mask stores, ascending; InputError where its size is not that of its image."""
    values, size = reader.read_mask(root / mask), reader.image_size(root / image)
    if values.shape != size:
        raise InputError(
            f"{root / mask}: mask is {values.shape[1]}x{values.shape[0]} pixels, its image {image} {size[1]}x{size[0]}"
        )
    return np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()


def write(index: Index, root: Path | str, path: Path) -> None:
    """Write the rows to `path` (CSV), and the facts about the whole data set, `root` among them, beside it (.json)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADER)
        for row in index.rows:
            table.writerow((*row[:4], " ".join(map(str, row.classes))))
    about = {"dataset": index.dataset, "root": str(root), "classes": index.class_names, "ignore": VOID}
    if index.stored:
        about["stored"] = index.stored
    path.with_suffix(".json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Index:
    """Read what `write` wrote; InputError where a file is missing or malformed."""
    try:
        for each in (path.with_suffix(".json"), path):
            files.check_regular(each)
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.reader(file)
            if tuple(next(table)) != HEADER:
                raise ValueError(f"header is not {','.join(HEADER)}")
            rows = tuple(Row(*cells[:4], tuple(int(x) for x in cells[4].split())) for cells in table)
        stored = {int(value): label for value, label in about.get("stored", {}).items()}
        return Index(about["dataset"], tuple(about["classes"]), rows, stored)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; make it with `dkd index`") from None
    except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise InputError(f"{path}: not an index file ({error}); make it with `dkd index`") from None
