"""Writes files so that each is there as a whole or not at all; refuses to read what is not a file.

Does not know what is in them.
"""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

TEMPORARY: list[Path] = []
"""Temporary folders that exist now; who ends the process at a signal removes them."""


def check_regular(path: Path) -> None:
    """Raise OSError unless `path` is a regular file; opening a pipe waits for a writer, and some devices never end."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden file beside `path` to write to; it takes the place of `path` where the block ends without an error.

    What a killed process leaves of it is written over next time; two that write `path` at once would meet in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` that is removed at the end, however that comes."""
    place = parent / f".dkd-{uuid4().hex[:12]}"
    TEMPORARY.append(place)
    try:
        place.mkdir()
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if place in TEMPORARY and not place.exists():
            TEMPORARY.remove(place)


def flush(path: Path) -> None:
    """Write what the system holds of a file or folder through to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
