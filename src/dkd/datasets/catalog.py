"""What is known of each data-set format before any file is read: its parts and its class names.

Knows nothing of pixels. Format `folder` is any data set in our own layout; `shapes` is drawn by `dkd.datasets.shapes`
and read as `folder`.
"""

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
