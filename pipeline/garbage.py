"""Deletes what was archived or quarantined long ago or takes too much room: the only place where results are deleted.

Knows ages and sizes; never touches a node that lies in its place, nor an archived one that the current plan asks for.
"""

import shutil
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from pipeline import store
from pipeline.plan import Plan

DAY = 86400.0


class Waste(NamedTuple):
    """A folder that may go: since when it has lain there, and its bytes."""

    path: Path
    since: float
    size: int


def collect(plan: Plan, days: float | None, size: int | None) -> list[Waste]:
    """Delete what has lain in the archive or in quarantine for more than `days`, and the oldest beyond `size` bytes.

    So with states of unfinished trainings that the plan does not ask for, and what killed jobs left. Returns what was
    deleted, each with the bytes that this freed: a file that lies elsewhere too (a hard link, such as those of DVC's
    cache) frees none. For whoever holds the lock.
    """
    kept = {str(base / folder) for base in store.ARCHIVES for folder in plan.nodes}
    kept |= {str(store.WORK / node.key) for node in plan.of()}
    paths = [path for base in (*store.ARCHIVES, *store.QUARANTINES) for path in store.nodes(base)]
    paths = [path for path in (*paths, *store.WORK.glob("*")) if str(path) not in kept]
    found = sorted((Waste(path, path.stat().st_mtime, _size(path)) for path in paths), key=lambda waste: waste.since)
    held = sum(waste.size for waste in found)
    now, gone = time.time(), []
    for waste in found:
        if (days is not None and now - waste.since > days * DAY) or (size is not None and held > size):
            gone.append(waste._replace(size=_size(waste.path, alone=True)))
            # Renamed first, so that no half of a node is ever left in the archive.
            store.SCRATCH.mkdir(parents=True, exist_ok=True)
            waste.path.rename(scratch := store.SCRATCH / uuid.uuid4().hex)
            shutil.rmtree(scratch)
            store.drop_empty(waste.path)
            held -= waste.size
    store.sweep()
    return gone


def _size(path: Path, alone: bool = False) -> int:
    """Bytes of the files in a folder; with `alone`, of those that lie nowhere else."""
    files = [file.lstat() for file in path.rglob("*") if not file.is_dir()]
    return sum(file.st_size for file in files if file.st_nlink == 1 or not alone)
