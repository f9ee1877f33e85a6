"""Reads JSON files that a command wrote, and checks them key by key.

Does not know which files and keys there are.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from dkd import files
from dkd.errors import InputError, shown

SURROGATES = re.compile("[\ud800-\udfff]")
MOST_BYTES = 500_000_000
LONGEST_TEXT = 200
"""Characters of a name."""
Check = tuple[Callable[[Any], bool], str]
"""Whether a value fits, and the words for what is expected."""


def read(path: Path, remedy: str) -> Any:
    """The content of a JSON file. Raises InputError, which ends in `remedy`, where it can't be read."""
    try:
        files.check_regular(path)
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(f"{path}: {size:,} bytes; at most {MOST_BYTES:,} are read; {remedy}")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); {remedy}") from None


def check(content: Any, checks: Mapping[str, Check], where: str, remedy: str, *, optional: Collection[str]) -> None:
    """Raise InputError unless `content` is a map whose keys are those of `checks` and whose values fit.

    `where` begins the error; `optional`: keys that may be missing.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where}: expected a map of keys and values, got {shown(content)}; {remedy}")
    for key in content:
        if key not in checks:
            raise InputError(f"{where}: {shown(key)[1:-1]}: unknown key; {remedy}")
    for key, (fits, words) in checks.items():
        if key not in content:
            if key in optional:
                continue
            raise InputError(f"{where}: {key}: missing; {remedy}")
        if not fits(content[key]):
            raise InputError(f"{where}: {key}: expected {words}, got {shown(content[key])}; {remedy}")


def text(value: Any) -> bool:
    """Whether a value is text of 1 to LONGEST_TEXT characters that can be written in UTF-8."""
    return path(value) and len(value) <= LONGEST_TEXT


def path(value: Any) -> bool:
    """Whether a value is text of any length, from 1 character on, that can be written in UTF-8."""
    return isinstance(value, str) and value != "" and not SURROGATES.search(value)


def whole(low: int, high: int) -> Callable[[Any], bool]:
    """Whether a value is an integer of this range."""
    return lambda value: type(value) is int and low <= value <= high


def number(low: float, high: float) -> Callable[[Any], bool]:
    """Whether a value is a finite number of this range."""
    return lambda value: type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def listed(fits: Callable[[Any], bool], least: int, most: int) -> Callable[[Any], bool]:
    """Whether a value is a list of `least` to `most` values that fit."""
    return lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(fits, value))
