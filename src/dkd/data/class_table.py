"""Lists of classes with their colours: classes.txt (`name r g b`) and labelmap.txt as CVAT writes it (`name:r,g,b::`).

Knows nothing of pixels. Shared by the folder layout and by the conversion of exports.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dkd import files
from dkd.data.classes import MAX_CLASSES, VOID, VOID_COLOUR
from dkd.errors import InputError, shown
from dkd.json_file import LONGEST_TEXT

BACKGROUND = ("background", "_background_")
IGNORED = ("void", "ignore", "ignored", "__ignore__")
"""Names, in any case, by which tools call what belongs to no class, and what has no annotation."""
LINES = {
    "labelmap.txt": (re.compile(r"(.+?)\s*:\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*(?::.*)?"), "name:r,g,b::"),
    "classes.txt": (re.compile(r"(.+?)[\s,:;]+(\d{1,9})[\s,]+(\d{1,9})[\s,]+(\d{1,9})"), "name r g b"),
}
"""How a line gives a class its colour."""


class ClassTable(NamedTuple):
    """Class names by label, background first, and the label of each colour 0xRRGGBB; none where no colours are given.

    Black is background and VOC's (224, 224, 192) void, unless the list gives these colours to a class.
    """

    names: tuple[str, ...]
    colours: dict[int, int]


def read_text(path: Path) -> str:
    """Content of a text file, without a byte order mark; InputError where it can't be read."""
    try:
        files.check_regular(path)
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def check_name(value: object, where: str) -> str:
    """A name of a class or a file: text on one line, without blanks around it; InputError for anything else."""
    found = value.strip() if isinstance(value, str) else ""
    # Control characters, halves of characters, ends of lines and paragraphs.
    if not found or any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in found):
        raise InputError(f"{where}: {shown(value)} is no name; give it one, on one line")
    return found


def labels(names: Iterable[str], where: object) -> tuple[list[str], dict[str, int]]:
    """The class list, background first and each name once, in the order given; and the label of every name.

    Raises InputError where there is no class, or more than 254.
    """
    classes, table = ["background"], {}
    for name in names:
        if name in table:
            continue
        if name.lower() in BACKGROUND:
            table[name] = 0
        elif name.lower() in IGNORED:
            table[name] = VOID
        else:
            table[name] = len(classes)
            classes.append(name)
    _check_length(classes, where)
    if len(classes) == 1:
        raise InputError(f"{where}: no class in it; a data set needs one at least")
    if len(classes) - 1 > MAX_CLASSES:
        raise InputError(
            f"{where}: {len(classes) - 1} classes; masks have room for {MAX_CLASSES}. Leave some out or join them, and "
            "export again"
        )
    return classes, table


def read_colours(path: Path) -> dict[int, str]:
    """Class name of each colour 0xRRGGBB in a labelmap.txt or classes.txt, where every line gives one; else InputError.

    Empty lines and those that begin with # are left out.
    """
    pattern, form = LINES[path.name]
    found: dict[int, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{path}: line {number}"
        match = pattern.fullmatch(line)
        if match is None:
            raise InputError(f"{where}: {shown(line)} is not {form}; give the class its colour")
        _add(found, check_name(match[1], where), match.groups()[1:], where)
    return found


def read(root: Path) -> ClassTable:
    """The classes of a folder data set: line k of classes.txt names label k, in the form `name r g b` with its colour.

    Without colours there, labelmap.txt beside it gives them by name; without classes.txt, it gives names and colours.
    Raises InputError where files are missing or malformed, repeat a name or colour, or name more than 254 classes.
    """
    path, extra = root / "classes.txt", root / "labelmap.txt"
    if not path.exists() and extra.is_file():
        by_colour = read_colours(extra)
        names, table = labels(by_colour.values(), extra)
        return ClassTable(tuple(names), with_defaults({colour: table[name] for colour, name in by_colour.items()}))
    names, colours = _class_list(path)
    if not colours and extra.is_file():
        known = {name: label for label, name in enumerate(names)}
        for colour, name in read_colours(extra).items():
            special = 0 if name.lower() in BACKGROUND else VOID if name.lower() in IGNORED else None
            if (label := known.get(name, special)) is None:
                raise InputError(f"{extra}: class {name!r} is not in {path.name}; use the same names in both")
            colours[colour] = label
    return ClassTable(names, with_defaults(colours) if colours else {})


def _class_list(path: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    try:
        files.check_regular(path)
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: {reason}; a folder data set names label k on line k, background on line 0") from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not 2 <= len(names) <= MAX_CLASSES + 1 or "" in names:
        raise InputError(
            f"{path}: {len(names)} lines; needs background and 1 to {MAX_CLASSES} class names, none of them empty"
        )
    matches = [LINES["classes.txt"][0].fullmatch(name) for name in names]
    colours: dict[int, int] = {}
    if any(matches[1:]):
        owners: dict[int, str] = {}
        for label, match in enumerate(matches):
            where = f"{path}: line {label + 1}"
            if match is None and label:
                raise InputError(
                    f"{where}: {names[label]!r} has no colour, others have; write `name r g b` on each line"
                )
            if match is not None:
                names[label] = match[1]
                colours[_add(owners, match[1], match.groups()[1:], where)] = label
    for number, name in enumerate(names, 1):
        check_name(name, f"{path}: line {number}")
    _check_length(names, path)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: class name {repeated[0]!r} occurs more than once")
    return tuple(names), colours


def _check_length(names: Iterable[str], where: object) -> None:
    if long := [name for name in names if len(name) > LONGEST_TEXT]:
        raise InputError(f"{where}: class name {shown(long[0])} has more than {LONGEST_TEXT} characters; shorten it")


def _add(found: dict[int, str], name: str, parts: tuple[str, ...], where: str) -> int:
    """Give a class its colour, and return that as 0xRRGGBB."""
    red, green, blue = map(int, parts)
    if max(red, green, blue) > 255:
        raise InputError(f"{where}: colour {red},{green},{blue} has a part above 255; correct it")
    colour = red << 16 | green << 8 | blue
    if colour in found:
        raise InputError(f"{where}: has the colour of {found[colour]!r}; give each class a colour of its own")
    found[colour] = name
    return colour


def with_defaults(colours: dict[int, int]) -> dict[int, int]:
    """Labels of `colours`, and of black (background) and VOC's void where the list gives them to no class."""
    red, green, blue = VOID_COLOUR
    return {0: 0, red << 16 | green << 8 | blue: VOID, **colours}
