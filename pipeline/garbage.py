"""Deletes what was archived or quarantined long ago or takes too much room: the only place where results are deleted.

Knows ages and sizes; never touches a node that lies in its place, nor an archived one that the current plan asks for.
"""

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline import store
from pipeline.plan import Plan

DAY = 86400.0
SET_ASIDE = re.compile(r"(.+-[0-9a-f]{12})-[0-9a-f]{6}")


class Waste(NamedTuple):
    """A folder that may go: the node's own folder (key, if unfinished), where it lies now, since when, its bytes."""

    folder: str
    path: Path
    since: float
    size: int


def collect(plan: Plan, days: float | None, size: int | None) -> list[Waste]:
    """Delete what has lain in the archive or in quarantine for more than `days`, and the oldest beyond `size` bytes.

    So with states of unfinished trainings that the plan does not ask for, and what killed jobs left. Returns what was
    deleted, each with the bytes that this freed: a file that lies elsewhere too (a hard link, such as those of DVC's
    cache) frees none. For whoever holds the lock.
    """
    found = sorted(_found(plan), key=lambda waste: waste.since)
    held = sum(waste.size for waste in found)
    now, gone = time.time(), []
    for waste in found:
        if (days is not None and now - waste.since > days * DAY) or (size is not None and held > size):
            gone.append(waste._replace(size=_delete(waste)))
            held -= waste.size
    store.sweep()
    return gone


def _found(plan: Plan) -> Iterator[Waste]:
    for archive in store.ARCHIVES:
        for path in store.nodes(archive):
            if (folder := path.relative_to(archive).as_posix()) not in plan.nodes:
                yield _waste(folder, path)
    for place in (*store.ARCHIVES, *store.QUARANTINES):
        for path in place.rglob("*"):
            if path.is_dir() and (match := SET_ASIDE.fullmatch(path.relative_to(place).as_posix())):
                yield _waste(match[1], path)
    keys = {node.key for node in plan.of()}
    for path in store.WORK.glob("*"):
        if path.name not in keys:
            yield _waste(path.name, path)


def _waste(folder: str, path: Path) -> Waste:
    return Waste(folder, path, path.stat().st_mtime, _size(path))


def _delete(waste: Waste) -> int:
    """Rename, then delete, so that no half of a node is ever left in the attic; returns the bytes freed."""
    freed = _size(waste.path, alone=True)
    scratch = store.SCRATCH / f"{store.slug(waste.folder)}-{uuid.uuid4().hex}"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    waste.path.rename(scratch)
    shutil.rmtree(scratch)
    for above in waste.path.parents:
        if above in (*store.ARCHIVES, *store.QUARANTINES, store.WORK) or any(above.iterdir()):
            break
        above.rmdir()
    return freed


def _size(path: Path, alone: bool = False) -> int:
    """Bytes of the files in a folder; with `alone`, of those that lie nowhere else."""
    files = [file.lstat() for file in path.rglob("*") if not file.is_dir()]
    return sum(file.st_size for file in files if file.st_nlink == 1 or not alone)


def size_of(text: str) -> int:
    """Bytes of "500MB", "1.5 GB" (powers of 1000) or a plain number; ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(text)
    return int(float(match[1]) * 1000 ** " kmgt".index((match[2] or " ").lower()))
