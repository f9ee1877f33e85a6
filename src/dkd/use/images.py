"""Finds a user's own images and videos, by their suffixes, and scales images. Knows nothing of networks.

Images are in any format that Pillow reads; HEIC is one of them where the package pillow-heif is installed.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from dkd.errors import InputError

try:
    import pillow_heif
except ImportError:
    pass
else:
    # Pillow has no other place for a further format than this process.
    pillow_heif.register_heif_opener()

HEIC = (".heic", ".heif", ".hif")
VIDEO = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
FULL = "full"
"""The size of images that the network sees as they are."""


class ImageFile(NamedTuple):
    """An image file and the name of its outputs: a path without suffix, relative to the output folder."""

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether it has frames, which are labelled one by one."""
        return self.path.suffix.lower() in VIDEO


class Found(NamedTuple):
    """What is in the places that a user named."""

    files: list[ImageFile]
    passed: list[tuple[Path, str]]
    """Files that are not labelled, and why."""


def find(places: Sequence[Path], videos: bool) -> Found:
    """The images among `places` and in the folders among them; `videos`: videos as well.

    Folders are searched recursively; other files in them are passed over. Output names keep the path below the given
    folder, and begin with that folder's name if several places are given. Images of one folder that differ only in
    their suffix keep it. Raises InputError if a place does not exist, a folder has nothing to label, a named file can't
    be labelled, or two images would have the same name.
    """
    found: list[tuple[Path, PurePosixPath]] = []
    passed: list[tuple[Path, str]] = []
    for place in places:
        if place.is_dir():
            reasons = {path: _reason(path, videos) for path in sorted(place.rglob("*")) if path.is_file()}
            wanted = [path for path, reason in reasons.items() if not reason]
            others = [(path, reason) for path, reason in reasons.items() if reason]
            if not wanted:
                hint = next(
                    (f" ({path.name}: {reason})" for path, reason in others if path.suffix.lower() in HEIC + VIDEO), ""
                )
                raise InputError(f"{place}: contains no image{hint}; name another folder, or the files themselves")
            passed += others
            top = PurePosixPath(place.resolve().name if len(places) > 1 else "")
            found += [(path, top / path.relative_to(place).as_posix()) for path in wanted]
        elif place.exists():
            if place.suffix.lower() in HEIC + VIDEO and (reason := _reason(place, videos)):
                raise InputError(f"{place}: {reason}")
            found.append((place, PurePosixPath(place.name)))
        else:
            raise InputError(f"{place}: no such file or folder")
    return Found(_named(found), passed)


def _reason(path: Path, videos: bool) -> str:
    """Why a file is not labelled; empty if it is."""
    suffix = path.suffix.lower()
    if suffix in VIDEO:
        return "" if videos else "is a video; --every N labels one frame of N"
    if suffix in Image.registered_extensions():
        return ""
    return 'is HEIC, which needs a package; pip install -e ".[heic]"' if suffix in HEIC else "no suffix of an image"


def _named(found: Sequence[tuple[Path, PurePosixPath]]) -> list[ImageFile]:
    same_stem: dict[PurePosixPath, set[Path]] = {}
    for path, name in found:
        same_stem.setdefault(name.with_suffix(""), set()).add(path)
    named: dict[str, ImageFile] = {}
    for path, name in found:
        stem = name.with_suffix("")
        unique = str(name if len(same_stem[stem]) > 1 or ImageFile(path, "").is_video else stem)
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
