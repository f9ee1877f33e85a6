"""The index: one row per picture with the classes that its mask shows, made by reading every mask once.

Knows nothing of steps. Everything after it (splits of any scenario) reads this table and never a mask again.
"""

import csv
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dkd.datasets import catalog, reader
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


def build(root: Path, *, dataset: str, format: str) -> Index:
    """Read every mask under `root`.

    Raises InputError that names the file where an image or mask is missing, unreadable or of another size than its
    partner, or where a mask holds a label outside the class list.
    """
    names = catalog.class_names(format, root)
    places = LAYOUTS[format](root)

    def row(place: tuple[str, str, str, str]) -> Row:
        id, image, mask, split = place
        labels = reader.read_mask(root / mask)
        size = reader.image_size(root / image)
        if labels.shape != size:
            raise InputError(
                f"{root / mask}: mask is {labels.shape[1]}x{labels.shape[0]} pixels, its image {image} "
                f"{size[1]}x{size[0]}"
            )
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
        for label in present:
            if label >= len(names) and label != VOID:
                raise InputError(
                    f"{root / mask}: label {label} is outside the class list (0..{len(names) - 1}, {VOID} = void)"
                )
        return Row(id, image, mask, split, tuple(int(x) for x in present if x not in (0, VOID)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(tqdm(pool.map(row, places), total=len(places), desc="index", disable=None, leave=False))
    return Index(dataset, names, tuple(sorted(rows, key=lambda row: (row.split, row.id))))


def _folder(root: Path) -> list[tuple[str, str, str, str]]:
    """(id, image, mask, split) of a folder data set: images/, masks/ and splits/{train,val[,test]}.txt."""
    try:
        stored = {entry.name for entry in os.scandir(root / "images")}
    except OSError as error:
        raise InputError(f"{root / 'images'}: {error.strerror}; a folder data set keeps its pictures there") from None
    places, seen = [], {}
    for split in ("train", "val", "test"):
        path = root / "splits" / f"{split}.txt"
        if not path.exists():
            if split == "test":
                continue
            raise InputError(f"{path}: missing; it lists the ids of the {split} pictures, one per line")
        ids = path.read_text(encoding="utf-8").split()
        if not ids:
            raise InputError(f"{path}: lists no picture")
        for id in ids:
            if id in seen:
                raise InputError(f"{path}: {id!r} is listed twice (also in {seen[id]}.txt)")
            seen[id] = split
            image = next((name for end in ("jpg", "png", "jpeg") if (name := f"{id}.{end}") in stored), None)
            if image is None:
                raise InputError(f"{root / 'images' / id}.jpg: image is missing (nor is there a .png; see {path})")
            places.append((id, f"images/{image}", f"masks/{id}.png", split))
    return places


LAYOUTS: dict[str, Callable[[Path], list[tuple[str, str, str, str]]]] = {"folder": _folder}


def write(index: Index, root: Path | str, path: Path) -> None:
    """Write the table to `path` (CSV) and what concerns the whole data set beside it (.json); `root` is recorded."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADER)
        for row in index.rows:
            table.writerow((*row[:4], " ".join(map(str, row.classes))))
    about = {"dataset": index.dataset, "root": str(root), "classes": index.class_names, "ignore": VOID}
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
        return Index(about["dataset"], tuple(about["classes"]), rows)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; make it with `dkd index`") from None
    except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise InputError(f"{path}: not an index file ({error}); make it with `dkd index`") from None
