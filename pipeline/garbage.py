"""Deletes what was set aside long ago or takes too much room: the only place where work is deleted.

Knows ages and sizes; never touches a node that lies in its place, nor one that the current plan or a live run asks for.
"""

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline import keep
from pipeline import plan as plans
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
    """Delete what lies in the attic or among the damaged for more than `days`, and the oldest beyond `size` bytes.

    So with states of unfinished trainings that nobody asks for. Also old plans and what killed jobs left. Returns what
    was deleted, each with the bytes that this freed: a file that lies elsewhere too (a hard link, such as those of
    DVC's cache) frees none.
    """
    found = sorted(_found(plan.nodes.keys() | plans.in_use()), key=lambda waste: waste.since)
    held = sum(waste.size for waste in found)
    now, gone = time.time(), []
    for waste in found:
        old = days is not None and now - waste.since > days * DAY
        if old or (size is not None and held > size):
            with keep.lock(waste.folder, wait=False) as free:
                if free and (_damaged(waste) or not _asked(waste, plans.in_use())):
                    gone.append(waste._replace(size=_delete(waste)))
                    held -= waste.size
    plans.drop(DAY)
    keep.sweep()
    return gone


def _found(wanted: set[str]) -> Iterator[Waste]:
    for path in keep.nodes(keep.ATTIC):
        folder = path.relative_to(keep.ATTIC).as_posix()
        if folder not in wanted:
            yield Waste(folder, path, path.stat().st_mtime, _size(path))
    for path in keep.DAMAGED.rglob("*"):
        if path.is_dir() and (match := SET_ASIDE.fullmatch(path.relative_to(keep.DAMAGED).as_posix())):
            yield Waste(match[1], path, path.stat().st_mtime, _size(path))
    for path in keep.WORK.glob("*"):
        waste = Waste(path.name, path, path.stat().st_mtime, _size(path))
        if not _asked(waste, wanted):
            yield waste


def _asked(waste: Waste, wanted: set[str]) -> bool:
    return waste.folder in (wanted if "/" in waste.folder else {folder[-12:] for folder in wanted})


def _damaged(waste: Waste) -> bool:
    return waste.path.is_relative_to(keep.DAMAGED)


def _delete(waste: Waste) -> int:
    """Rename, then delete, so that no half of a node is ever left in the attic; returns the bytes freed."""
    freed = _size(waste.path, alone=True)
    scratch = keep.SCRATCH / f"{keep.slug(waste.folder)}-{uuid.uuid4().hex}"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    waste.path.rename(scratch)
    shutil.rmtree(scratch)
    for above in waste.path.parents:
        if above in (keep.ATTIC, keep.DAMAGED, keep.WORK) or any(above.iterdir()):
            break
        above.rmdir()
    return freed


def _size(path: Path, alone: bool = False) -> int:
    """Bytes of the files in a folder; with `alone`, of those that lie nowhere else."""
    files = [file.lstat() for file in path.rglob("*") if not file.is_dir()]
    return sum(file.st_size for file in files if file.st_nlink == 1 or not alone)


def size_of(text: str) -> int:
    """Bytes of "500MB", "1.5 GB" (powers of 1000) or a plain number; ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])?B)?", text.strip())
    if match is None:
        raise ValueError(text)
    return int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " "))
