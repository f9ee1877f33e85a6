"""The index: one row per image with the classes that its mask shows (`dkd.data.survey` makes it).

Knows neither steps nor the file layouts of data sets. All later stages read this table to find images by class, and
never read masks for that.
"""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dkd import files
from dkd.data import classes
from dkd.data.classes import VOID, Encoding
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
    colours: dict[int, int]
    """Value of each colour 0xRRGGBB of masks in colours; empty where masks hold the values themselves."""

    @property
    def encoding(self) -> Encoding:
        """How the masks store labels."""
        values = classes.known_values(self.stored, len(self.class_names))
        return Encoding(frozenset(values), self.colours)

    def of(self, split: str) -> list[Row]:
        """Rows of the split train, val or test."""
        return [row for row in self.rows if row.split == split]

    def test_rows(self) -> list[Row]:
        """Rows that networks are evaluated on (`test_split`)."""
        return self.of(test_split(row.split for row in self.rows))


def test_split(splits: Iterable[str]) -> str:
    """The split that networks are evaluated on: "test" if it is among `splits`, otherwise "val"."""
    return "test" if "test" in splits else "val"


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
    if index.colours:
        about["colours"] = {f"#{colour:06x}": value for colour, value in index.colours.items()}
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
        colours = {int(colour.removeprefix("#"), 16): value for colour, value in about.get("colours", {}).items()}
        return Index(about["dataset"], tuple(about["classes"]), rows, stored, colours)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; make it with `dkd index`") from None
    except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise InputError(f"{path}: not an index file ({error}); make it with `dkd index`") from None
