"""Lists of images, and the files below the folders of a data set that they name.

Lists come from many tools: with ids, file names or paths, on Windows or Linux, alone or as pairs of image and mask.
Knows nothing of pixels or classes.
"""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from dkd import files
from dkd.errors import InputError

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
MASKS = (".png", ".tif", ".tiff", ".bmp")
"""Suffixes of images and masks, in small letters."""


class Folder:
    """Files below one folder of a data set, by id: the path below it without suffix, as `train/a b`.

    Hidden files do not count. `suffixes` are those of the files wanted. Raises InputError where the folder can't be
    read.
    """

    def __init__(self, root: Path, name: str, suffixes: Sequence[str]):
        self.place, self.name, self.suffixes = root / name, name, suffixes
        self.paths: dict[str, list[str]] = {}
        """Paths relative to the root, of wanted files."""
        self.others: dict[str, str] = {}
        """A path relative to the root, of files with another suffix."""
        for path in self._walk():
            inner = PurePosixPath(path)
            id = _plain(inner.with_suffix("").as_posix())
            if inner.suffix.lower() in suffixes:
                self.paths.setdefault(id, []).append(f"{name}/{path}")
            else:
                self.others[id] = f"{name}/{path}"

    def _walk(self) -> Iterator[str]:
        def fail(error: OSError) -> None:
            raise InputError(f"{error.filename}: {error.strerror}; the data set keeps its {self.name} there")

        # A file link of DVC or git-annex is followed, and so is a folder that lies elsewhere.
        for folder, folders, names in os.walk(self.place, onerror=fail, followlinks=True):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            above = PurePosixPath(Path(folder).relative_to(self.place).as_posix())
            yield from (str(above / each) for each in sorted(names) if not each.startswith("."))

    def id_of(self, text: str) -> str | None:
        """The id of a file that a list names by its id, its file name, or a path that leads through the folder."""
        text = _plain(text.replace("\\", "/")).removeprefix("./").lstrip("/")
        marked = f"/{text}"
        ways = [text, *([marked.rpartition(f"/{self.name}/")[2]] if f"/{self.name}/" in marked else [])]
        for way in ways:
            if way in self.paths:
                return way
            stem, suffix = os.path.splitext(way)  # noqa: PTH122
            if stem in self.paths and suffix.lower() in IMAGES:
                return stem
        return None

    def path(self, id: str, where: str) -> str | None:
        """Path of the file with an id, relative to the root; InputError, which begins with `where`, if two have it."""
        found = self.paths.get(id, [])
        if len(found) > 1:
            raise InputError(
                f"{where}: {found[0]} and {found[1]} have the same id {id!r}; remove or rename one of them"
            )
        return found[0] if found else None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Lines of a list that are not empty, with their numbers, without blanks around them.

    Raises InputError where it is not UTF-8 text, OSError where it can't be read.
    """
    try:
        files.check_regular(path)
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; it lists the ids of images, one per line") from None
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def read_entries(path: Path, images: Folder, masks: Folder) -> Iterator[tuple[str, str, str]]:
    """(id, image, mask) of each line of a list, with paths relative to the root of the data set.

    A line holds an id, a file name, a path, or an image and its mask (as VOC's train_aug.txt). A mask has the id of
    its image unless the line names it; if there is none, the path is that where it should be. Raises InputError where a
    line names no image, or an id has two files.
    """
    for number, line in read_lines(path):
        where = f"{path}: line {number}"
        id, named = images.id_of(line), None
        breaks = [match.span() for match in re.finditer(r"\s+", line)] if id is None else []
        for start, end in breaks:
            second = line[end:]
            if PurePosixPath(second.replace("\\", "/")).suffix.lower() in (*IMAGES, *MASKS):
                id, named = images.id_of(line[:start]), second
            if id is not None:
                break
        if id is None:
            seen = images.others.get(_plain(line.replace("\\", "/")))
            kinds = f"{seen} is none of" if seen else "nor a file with one of the suffixes"
            raise InputError(f"{where}: image is missing: no {line!r} in {images.place} ({kinds} {', '.join(IMAGES)})")
        yield id, images.path(id, where), _mask(id, named, masks, where)


def pairs(images: Folder, masks: Folder) -> tuple[list[tuple[str, str, str]], list[str]]:
    """(id, image, mask) of all images that have a mask, by id; and the ids of those that have none."""
    found, bare = [], []
    for id in sorted(images.paths):
        image = images.path(id, str(images.place))
        if id in masks.paths or id in masks.others:
            found.append((id, image, _mask(id, None, masks, str(masks.place))))
        else:
            bare.append(id)
    return found, bare


def _mask(id: str, named: str | None, masks: Folder, where: str) -> str:
    own = id
    if named is not None and (own := masks.id_of(named)) is None:
        raise InputError(f"{where}: mask is missing: no {named!r} in {masks.place}")
    return masks.path(own, where) or masks.others.get(own) or f"{masks.name}/{own}.png"


def _plain(text: str) -> str:
    """macOS stores names in another normal form of Unicode than it shows them in."""
    return unicodedata.normalize("NFC", text)
