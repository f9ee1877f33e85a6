"""What is known of each data-set format: its parts, its class names, and where its pictures and masks lie.

Knows nothing of pixels. Format `folder` is any data set in our own layout; `shapes` is drawn by `dkd.datasets.shapes`
and read as `folder`.
"""

import os
from pathlib import Path

from dkd.errors import InputError

SHAPES = ("background", "disc", "square", "triangle", "cross", "ring", "star")

# What of a raw data set makes up its content; anything else lying under its root is of no consequence.
PARTS = {"folder": ("classes.txt", "images", "masks", "splits")}


def class_names(format: str, root: Path | None) -> tuple[str, ...]:
    """Names of label 0 (background), 1, 2, ... ; read from `root`/classes.txt where the format leaves them to the user.

    Raises InputError where the file is missing, empty, repeats a name or names more than 254 classes.
    """
    if format == "shapes":
        return SHAPES
    path = root / "classes.txt"
    try:
        names = tuple(path.read_text(encoding="utf-8").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: {reason}; a folder data set names label k on line k, background on line 0") from None
    names = tuple(name.strip() for name in names)
    while names and not names[-1]:
        names = names[:-1]
    if len(names) < 2 or len(names) > 255 or "" in names:
        raise InputError(f"{path}: {len(names)} lines; needs background and 1 to 254 class names, none of them empty")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: class name {repeated[0]!r} occurs more than once")
    return names


def places(format: str, root: Path) -> list[tuple[str, str, str, str]]:
    """(id, image, mask, split) of every picture, paths relative to `root` (POSIX).

    Raises InputError that names the file where a list or a picture is missing or an id occurs twice.
    """
    return {"folder": _folder}[format](root)


def _folder(root: Path) -> list[tuple[str, str, str, str]]:
    """(id, image, mask, split) of a folder data set: images/, masks/ and splits/{train,val[,test]}.txt."""
    try:
        stored = {entry.name for entry in os.scandir(root / "images")}
    except OSError as error:
        raise InputError(f"{root / 'images'}: {error.strerror}; a folder data set keeps its pictures there") from None
    places, seen = [], {}
    for split in ("train", "val", "test"):
        path = root / "splits" / f"{split}.txt"
        if not path.exists():
            if split == "test":
                continue
            raise InputError(f"{path}: missing; it lists the ids of the {split} pictures, one per line")
        ids = path.read_text(encoding="utf-8").split()
        if not ids:
            raise InputError(f"{path}: lists no picture")
        for id in ids:
            if id in seen:
                raise InputError(f"{path}: {id!r} is listed twice (also in {seen[id]}.txt)")
            seen[id] = split
            image = next((name for end in ("jpg", "png", "jpeg") if (name := f"{id}.{end}") in stored), None)
            if image is None:
                raise InputError(f"{root / 'images' / id}.jpg: image is missing (nor is there a .png; see {path})")
            places.append((id, f"images/{image}", f"masks/{id}.png", split))
    return places
