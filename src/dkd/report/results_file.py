"""Reads what an evaluation wrote, metrics.json and confusion.npz, and refuses what is damaged.

Does not know which results belong together.
"""

from pathlib import Path
from typing import Any

import numpy as np

from dkd import files, json_file
from dkd.errors import InputError
from dkd.json_file import number, text, whole

REMEDY = "restore the file, or evaluate again"


def _percent(value: Any) -> bool:
    return value is None or number(0, 100)(value)


def _per_class(value: Any) -> bool:
    return isinstance(value, dict) and value and all(text(name) and _percent(iou) for name, iou in value.items())


PERCENT = (_percent, "a percentage or null")
MAP = (lambda value: isinstance(value, dict), "a map of keys and values")
MEANS = dict.fromkeys(("all", "base", "new", "harmonic", "pixel_accuracy"), PERCENT)
TOP = {"step": (whole(0, 254), "a number of a step"), "protocols": MAP}
PROTOCOL = {**MEANS, "foreground": MAP, "per_class": (_per_class, "percentages by class name")}


def read_metrics(path: Path, protocol: str) -> dict[str, Any]:
    """The content of a metrics.json. Raises InputError if it is damaged or lacks `protocol`."""
    content = json_file.read(path, REMEDY)
    json_file.check(content, TOP, str(path), REMEDY, optional=())
    if protocol not in content["protocols"]:
        raise InputError(f"{path}: protocols.{protocol}: missing; {REMEDY}")
    for name, values in content["protocols"].items():
        where = f"{path}: protocols.{name}"
        json_file.check(values, PROTOCOL, where, REMEDY, optional=())
        json_file.check(values["foreground"], MEANS, f"{where}.foreground", REMEDY, optional=("pixel_accuracy",))
    return content


def read_counts(folder: Path, protocol: str, names: int) -> np.ndarray:
    """Confusion matrix (names, names) of `protocol` from confusion.npz, rows = truth. Raises InputError if damaged."""
    path = folder / "confusion.npz"
    try:
        files.check_regular(path)
        with np.load(path) as file:
            counts = file[protocol]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; {REMEDY}") from None
    except Exception as error:  # A damaged archive can make its reader raise anything.
        raise InputError(f"{path}: not readable as counts of {protocol} ({type(error).__name__}); {REMEDY}") from None
    if counts.shape != (names, names) or counts.dtype.kind not in "iu" or (counts < 0).any():
        shape = f"{' x '.join(map(str, counts.shape))} {counts.dtype}"
        raise InputError(f"{path}: {protocol}: expected {names} x {names} counts, got {shape}; {REMEDY}")
    return counts
