"""The index: one row per image with the classes that its mask shows (`dkd.data.survey` makes it).

Knows neither steps nor the file layouts of data sets. All later stages read this table to find images by class, and
never read masks for that.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dkd import files, json_file
from dkd.data import classes
from dkd.data.classes import VOID, Encoding
from dkd.errors import InputError, shown
from dkd.json_file import listed, text, whole

HEADER = ("id", "image", "mask", "split", "classes")
SPLITS = ("train", "val", "test")
REMEDY = "make it with `dkd index`"
MOST_NAMES = classes.MAX_CLASSES + 1


def _values(pattern: str, what: str) -> json_file.Check:
    """Whether a value is a map from keys of this form, which `what` describes, to labels or stored values."""

    def fits(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(re.fullmatch(pattern, key) for key in value)
            and all(map(whole(0, VOID), value.values()))
        )

    return fits, f"a map from {what} to integers from 0 to {VOID}"


CHECKS = {
    "dataset": (text, "a name"),
    "classes": (listed(text, 2, MOST_NAMES), f"a list of 2 to {MOST_NAMES} names"),
    "ignore": (whole(VOID, VOID), f"{VOID}"),
    "stored": _values("[0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5]", "stored values (0 to 255)"),
    "colours": _values("#[0-9a-f]{6}", "colours (#rrggbb)"),
}
"""Of the .json file."""


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


def write(index: Index, path: Path) -> None:
    """Write the rows to `path` (CSV), and the facts about the whole data set beside it (.json)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADER)
        for row in index.rows:
            table.writerow((*row[:4], " ".join(map(str, row.classes))))
    about = {"dataset": index.dataset, "classes": index.class_names, "ignore": VOID}
    if index.stored:
        about["stored"] = index.stored
    if index.colours:
        about["colours"] = {f"#{colour:06x}": value for colour, value in index.colours.items()}
    path.with_suffix(".json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Index:
    """Read what `write` wrote; InputError where a file is missing or malformed."""
    facts = path.with_suffix(".json")
    about = json_file.read(facts, REMEDY)
    json_file.check(about, CHECKS, str(facts), REMEDY, optional=("stored", "colours"))
    names = tuple(about["classes"])
    if len(set(names)) < len(names):
        raise InputError(f"{facts}: classes: a name is repeated; {REMEDY}")
    stored = {int(value): label for value, label in about.get("stored", {}).items()}
    if strange := sorted(set(stored.values()) - {*range(len(names)), VOID}):
        raise InputError(f"{facts}: stored: label {strange[0]} is not among the {len(names)} classes; {REMEDY}")
    colours = {int(colour.removeprefix("#"), 16): value for colour, value in about.get("colours", {}).items()}
    return Index(about["dataset"], names, tuple(_rows(path, len(names))), stored, colours)


def _rows(path: Path, names: int) -> Iterator[Row]:
    """The rows of the .csv file, for labels below `names`."""
    seen: set[str] = set()
    labels = {str(label): label for label in range(1, names)}
    try:
        files.check_regular(path)
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.reader(file, strict=True)
            if tuple(next(table, ())) != HEADER:
                raise InputError(f"{path}: line 1: expected {','.join(HEADER)}; {REMEDY}")
            for cells in table:
                where = f"{path}: line {table.line_num}"
                if len(cells) != len(HEADER) or not all(cells[:4]):
                    raise InputError(f"{where}: expected {len(HEADER)} cells, got {shown(cells)}; {REMEDY}")
                id, image, mask, split, shows = cells
                if split not in SPLITS or id in seen:
                    fault = f"{shown(id)} is there twice" if id in seen else f"unknown split {shown(split)}"
                    raise InputError(f"{where}: {fault}; {REMEDY}")
                if not all(label in labels for label in shows.split()):
                    raise InputError(f"{where}: expected labels from 1 to {names - 1}, got {shown(shows)}; {REMEDY}")
                seen.add(id)
                yield Row(id, image, mask, split, tuple(labels[label] for label in shows.split()))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {REMEDY}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as CSV ({error}); {REMEDY}") from None
