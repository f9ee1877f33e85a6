"""Finds a user's own images, in any format that Pillow reads, and scales them. Knows nothing of networks."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from dkd.errors import InputError


class ImageFile(NamedTuple):
    """An image file and the name of its outputs: a path without suffix, relative to the output folder."""

    path: Path
    name: str


def find(places: Sequence[Path]) -> tuple[list[ImageFile], int]:
    """The image files among `places` and in the folders among them, and the number of other files in those folders.

    Folders are searched recursively. Output names keep the path below the given folder, and begin with that folder's
    name if several places are given. Images of one folder that differ only in their suffix keep it. Raises InputError
    if a place does not exist, a folder has no image, or two images would have the same name.
    """
    suffixes = Image.registered_extensions().keys()
    found: list[tuple[Path, PurePosixPath]] = []
    others = 0
    for place in places:
        if place.is_dir():
            files = sorted(path for path in place.rglob("*") if path.is_file())
            images = [path for path in files if path.suffix.lower() in suffixes]
            others += len(files) - len(images)
            if not images:
                raise InputError(f"{place}: contains no image; name another folder, or the files themselves")
            top = PurePosixPath(place.resolve().name if len(places) > 1 else "")
            found += [(path, top / path.relative_to(place).as_posix()) for path in images]
        elif place.exists():
            found.append((place, PurePosixPath(place.name)))
        else:
            raise InputError(f"{place}: no such file or folder")
    return _named(found), others


def _named(found: Sequence[tuple[Path, PurePosixPath]]) -> list[ImageFile]:
    same_stem: dict[PurePosixPath, set[Path]] = {}
    for path, name in found:
        same_stem.setdefault(name.with_suffix(""), set()).add(path)
    named: dict[str, ImageFile] = {}
    for path, name in found:
        stem = name.with_suffix("")
        unique = str(name if len(same_stem[stem]) > 1 else stem)
        if unique in named and named[unique].path != path:
            raise InputError(
                f"{path} and {named[unique].path} would both be named {unique} in the output; label them in two calls"
            )
        named[unique] = ImageFile(path, unique)
    return list(named.values())


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 with both sides multiplied by `scale` (bilinear)."""
    if scale == 1:
        return image
    height, width = image.shape[:2]
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    return np.array(Image.fromarray(image).resize(sides, Image.Resampling.BILINEAR))
