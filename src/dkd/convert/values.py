"""Files that tools wrote, and single values out of them; whatever is wrong is an InputError that names file and key.

Knows nothing of any tool.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dkd.data.class_table import read_text
from dkd.errors import InputError, shown
from dkd.files import check_regular

MARGIN = 1
"""How far a point may lie outside of its image, in sides of the image."""


def json_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); export it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {shown(content)}, not an object {{...}}; export it again")
    return content


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise ValueError("has a document type declaration, which no export has")


def xml_root(path: Path) -> ET.Element:
    """The outermost element of an XML file; entities are refused, with all other document type declarations."""
    try:
        check_regular(path)
        parser = ET.XMLParser(target=_NoDoctype())
        parser.feed(path.read_bytes())
        return parser.close()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path}: not XML as it should be ({error}); export it again") from None


def objects(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """The list of objects at `key`."""
    found = content.get(key)
    if not isinstance(found, list):
        raise InputError(f"{path}: {key}: is {shown(found)}, not a list; export it again")
    for k, each in enumerate(found):
        if not isinstance(each, dict):
            raise InputError(f"{path}: {key}[{k}]: is {shown(each)}, not an object {{...}}; export it again")
    return found


def number(value: object, where: str) -> float:
    """A number, or text that is one."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise InputError(f"{where}: {shown(value)} is not a number; correct it or export again") from None


def whole(value: object, where: str, low: int) -> int:
    """A whole number from `low` on."""
    found = number(value, where)
    if not low <= found < 2**31 or found != int(found):
        raise InputError(f"{where}: {shown(value)} is not a whole number from {low} on; correct it or export again")
    return int(found)


def size(width: object, height: object, where: str) -> tuple[int, int]:
    """(width, height) of an image in pixels."""
    return whole(width, f"{where}width", 1), whole(height, f"{where}height", 1)


def points(
    found: object, width: int, height: int, where: str, least: int, most: int | None
) -> list[tuple[float, float]]:
    """Points [[x, y], ...] in pixels, from `least` to `most` of them, none of them far outside of the image."""
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise InputError(f"{where}: {shown(found)} is not a list of points; remove the shape or draw it again")
    if len(found) < least or len(found) > (most or len(found)):
        need = f"needs {least}" if least == most else f"needs {least} or more"
        raise InputError(f"{where}: has {len(found)} points, {need}; remove the shape or draw it again")
    checked = []
    for point in found:
        if not isinstance(point, Sequence) or isinstance(point, str) or len(point) != 2:
            raise InputError(f"{where}: {shown(point)} is not a point x, y; remove the shape or draw it again")
        x, y = (number(value, where) for value in point)
        inside = -MARGIN * width <= x <= (1 + MARGIN) * width and -MARGIN * height <= y <= (1 + MARGIN) * height
        if not inside:
            raise InputError(
                f"{where}: {shown(point)} lies far outside of the image of {width}x{height} pixels; was it drawn on "
                "another size? Draw it again"
            )
        checked.append((x, y))
    return checked
