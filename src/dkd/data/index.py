"""The index: one row per picture with the classes that its mask shows, made by reading every mask once.

Knows nothing of steps, nor where a format keeps its files. Everything after it (splits of any scenario) reads this
table and never a mask again.
"""

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dkd import cores
from dkd.data import reader
from dkd.errors import InputError
from dkd.scenario import VOID

HEADER = ("id", "image", "mask", "split", "classes")


class Row(NamedTuple):
    """One picture: paths relative to the data set's root; `classes` = labels present, without 0 and void."""

    id: str
    image: str
    mask: str
    split: str
    classes: tuple[int, ...]


class Index(NamedTuple):
    """All pictures of a data set, sorted by split and id, and the names of labels 0, 1, 2, ..."""

    dataset: str
    class_names: tuple[str, ...]
    rows: tuple[Row, ...]
    stored: dict[int, int] = {}  # noqa: RUF012 - a default of a tuple, never changed
    """Label of each value that masks store; empty where values are the labels. 0 (if not listed) and 255 stay."""

    def labels(self) -> np.ndarray:
        """Look-up table of 256 entries (uint8) from what masks store to labels."""
        return _table(self.stored)


def _table(stored: dict[int, int]) -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    table[list(stored)] = list(stored.values())
    return table


def build(
    root: Path,
    dataset: str,
    class_names: tuple[str, ...],
    places: list[tuple[str, str, str, str]],
    stored: dict[int, int] | None = None,
) -> Index:
    """Read every mask under `root`; `places` are (id, image, mask, split), paths relative to `root`.

    `stored`: as in Index.

    Raises InputError that names the file where an image or mask is missing, unreadable or of another size than its
    partner, or where a mask holds a value that is neither 0, 255 nor in the class list (`stored`, where given).
    """

    table = _table(stored or {})
    known = {0, VOID, *(stored or range(len(class_names)))}

    def row(place: tuple[str, str, str, str]) -> Row:
        id, image, mask, split = place
        values = reader.read_mask(root / mask)
        size = reader.image_size(root / image)
        if values.shape != size:
            raise InputError(
                f"{root / mask}: mask is {values.shape[1]}x{values.shape[0]} pixels, its image {image} "
                f"{size[1]}x{size[0]}"
            )
        present = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
        for value in present:
            if value not in known:
                last = max(known - {VOID})
                raise InputError(f"{root / mask}: label {value} is outside the class list (0..{last}, {VOID} = void)")
        return Row(id, image, mask, split, tuple(sorted({*table[present].tolist()} - {0, VOID})))

    with ThreadPoolExecutor(cores.available()) as pool:
        rows = list(tqdm(pool.map(row, places), total=len(places), desc="index", disable=None, leave=False))
    return Index(dataset, class_names, tuple(sorted(rows, key=lambda row: (row.split, row.id))), stored or {})


def write(index: Index, root: Path | str, path: Path) -> None:
    """Write the table to `path` (CSV) and what concerns the whole data set beside it (.json); `root` is recorded."""
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
    """Read what `write` wrote."""
    try:
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
