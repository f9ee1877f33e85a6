"""What every tool's export comes down to, and how an image is found by the name that an export gives it.

Knows nothing of any tool. Names come from any machine: with backslashes, as whole paths of somebody else's disk, or in
another normal form of Unicode (macOS).
"""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dkd.errors import InputError


class Item(NamedTuple):
    """An image with what is drawn on it.

    `image`: its file, or a function that gives the bytes of one. `name`: a path that its id is made from. `size`:
    (width, height) that the export states, None = that of the upright image. `draw(width, height, labels)` gives the
    mask (height, width) uint8, where `labels` has the label of each class name. `where`: file and key, for messages.
    """

    image: Path | Callable[[], bytes]
    name: Path
    size: tuple[int, int] | None
    draw: Callable[[int, int, Mapping[str, int]], np.ndarray]
    where: str


class Export(NamedTuple):
    """Class names in the tool's order, labelled images, and the number of images without a label."""

    names: list[str]
    items: list[Item]
    unlabelled: int


def files(root: Path, suffixes: Iterable[str]) -> list[Path]:
    """Files below `root` with one of the suffixes, in order of their names; none that systems hide."""
    wanted, found = set(suffixes), []
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.suffix.lower() in wanted and not any(part.startswith(".") or part == "__MACOSX" for part in parts):
            found.append(path)
    return sorted((path for path in found if path.is_file()), key=lambda path: path.as_posix())


def find_images(root: Path) -> list[Path]:
    """Files below `root` that are images by their suffix."""
    return files(root, Image.registered_extensions())


class Finder:
    """The images of an export, found by name."""

    def __init__(self, root: Path, among: Iterable[Path]):
        self.root = root
        self.paths: dict[str, list[tuple[str, Path]]] = {}
        """For each file name, with and without its suffix: path below `root` (so too) and file."""
        for path in among:
            inner = _normal(path.relative_to(root).as_posix())
            for way in dict.fromkeys((inner, inner.removesuffix(path.suffix))):
                self.paths.setdefault(way.rpartition("/")[2], []).append((way, path))

    def find(self, name: str, where: str, near: Iterable[Path]) -> Path:
        """The image that an export calls `name`: first as a path from one of the folders `near`, then anywhere below.

        A suffix may be missing. Of paths that lead out of the export, only as many of the last parts as match count.
        Raises InputError that begins with `where` if there is none, or more than one.
        """
        slashed = name.replace("\\", "/")
        for folder in near:
            try:
                if (path := Path(os.path.normpath(folder / slashed))).is_file():
                    return path
            except (OSError, ValueError):
                break
        parts = [part for part in _normal(slashed).split("/") if part not in ("", ".")]
        foreign = slashed.startswith("/") or ".." in parts or re.match(r"[A-Za-z]+:", slashed)
        parts = [part for part in parts if part != ".."]
        for start in range(len(parts) if foreign else min(1, len(parts))):
            tail = "/".join(parts[start:])
            ways = self.paths.get(parts[-1], [])
            found = sorted(
                {path for way, path in ways if way == tail} or {path for way, path in ways if way.endswith(f"/{tail}")}
            )
            if len(found) > 1:
                raise InputError(
                    f"{where}: {name!r} may be {found[0]} or {found[1]}; give the name with its folder, or convert "
                    "them one by one"
                )
            if found:
                return found[0]
        raise InputError(
            f"{where}: no image {name!r} below {self.root}; put it there (or export again, with the images)"
        )


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", path)
