"""Where finished nodes lie, move to and come back from; knows nothing of what is in them.

What no run needs goes to .dkd/archive, what is damaged or was replaced to .dkd/quarantine. From these two, and from
nowhere else, `collect` deletes. `prepare`, `prune` and `collect` are for whoever holds the lock.
"""

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from pipeline.plan import STAMP, Plan
from pipeline.rules import FOLDERS

ARCHIVES = ARCHIVE, _ = Path(".dkd/archive"), Path(".dkd/attic")
QUARANTINES = QUARANTINE, _ = Path(".dkd/quarantine"), Path(".dkd/damaged")
"""The second of each is what earlier versions called the first."""
SCRATCH, WORK, FAILED = Path(".dkd/scratch"), Path(".dkd/work"), Path(".dkd/failed")
"""The latter two by key: states of unfinished trainings, and why nodes of the last run failed, in one line."""
DAY = 86400.0
NODE = re.compile(r"(.+)-[0-9a-f]{12}(-[0-9a-f]{6})?")
"""Names of nodes, the latter of those that were set aside: nothing restores them."""


@contextlib.contextmanager
def scratch(folder: str) -> Iterator[Path]:
    """An empty folder in which to make `folder`; it is deleted in the end, unless it was moved to its place."""
    # A single file name, cut where it would be too long.
    path = SCRATCH / folder.replace("/", "__")[-200:]
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def is_node(folder: Path) -> bool:
    """Whether a folder holds the last file of a node."""
    return (folder / STAMP).exists()


def find(folder: str) -> Path | None:
    """Where a finished node lies: in its place, or in an archive; None where in neither."""
    return next(filter(is_node, (Path(folder), *(archive / folder for archive in ARCHIVES))), None)


def nodes(base: Path) -> Iterator[Path]:
    """The folders of all nodes that lie under `base`: the working directory, an archive or a quarantine."""
    for top in FOLDERS:
        for name, folders, _ in os.walk(base / top):
            yield from (Path(name, folder) for folder in folders if NODE.fullmatch(folder))
            folders[:] = [folder for folder in folders if not NODE.fullmatch(folder)]


def prepare() -> None:
    """Delete scratch of killed jobs and states of finished trainings; make all folders that DVC records."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    begun = {path.name: path for path in WORK.glob("*")}
    for folder in filter(is_node, nodes(Path()) if begun else ()):
        if left := begun.get(folder.name[-12:]):
            shutil.rmtree(left, ignore_errors=True)
    for top in map(Path, FOLDERS):
        top.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (top / ".gitignore").touch(exist_ok=False)


def put(source: Path, folder: Path, aside: Path) -> None:
    """Rename a finished node into place; files that lie there are moved to `aside`."""
    if any(path.is_file() for path in folder.rglob("*")):
        set_aside(folder, aside)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    source.rename(folder)


def set_aside(folder: Path, aside: Path) -> Path:
    """Move a node to `aside`, under a name that nothing restores; where it lies then."""
    base = next(filter(folder.is_relative_to, ARCHIVES), Path())
    return _move(folder, aside / f"{folder.relative_to(base)}-{uuid.uuid4().hex[:6]}")


def _move(folder: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    os.utime(target)  # `gc` counts from now
    return target


def prune(plan: Plan) -> None:
    """Move nodes that the plan does not need to the archive."""
    for folder in [path for path in nodes(Path()) if str(path) not in plan.nodes]:
        if is_node(folder):
            shutil.rmtree(ARCHIVE / folder, ignore_errors=True)
            _move(folder, ARCHIVE / folder)
        drop_empty(folder)


def collect(plan: Plan, days: float | None, size: int | None) -> dict[Path, int]:
    """Delete what has lain in the archive or in quarantine for more than `days`, and the oldest beyond `size` bytes.

    So with states of unfinished trainings; what the plan needs stays. Returns what was deleted, each with the bytes
    that this freed: a file that lies elsewhere too (a hard link, such as those of DVC's cache) frees none.
    """
    kept = {base / folder for base in ARCHIVES for folder in plan.nodes} | {WORK / node.key for node in plan.of()}
    aside = [path for base in (*ARCHIVES, *QUARANTINES) for path in nodes(base)]
    since = {path: path.stat().st_mtime for path in (*aside, *WORK.glob("*")) if path not in kept}
    sizes = {path: _size(path, alone=False) for path in sorted(since, key=since.__getitem__)}
    held, gone = sum(sizes.values()), {}
    for path in sizes:
        if (days is not None and time.time() - since[path] > days * DAY) or (size is not None and held > size):
            held -= sizes[path]
            gone[path] = _size(path, alone=True)
            # Renamed first, so that no half of a node is ever left in the archive.
            with scratch(str(path)) as away:
                path.rename(away)
            drop_empty(path)
    return gone


def _size(path: Path, alone: bool) -> int:
    """Bytes of the files in a folder; with `alone`, of those that lie nowhere else."""
    files = [file.lstat() for file in path.rglob("*") if not file.is_dir()]
    return sum(file.st_size for file in files if file.st_nlink == 1 or not alone)


def drop_empty(folder: Path) -> None:
    """Remove a folder that holds no file, and the folders above it that are left empty."""
    if not any(path.is_file() for path in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.removedirs(folder.parent)
