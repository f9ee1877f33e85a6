"""The working directory: its lock, and where finished nodes lie, move to and come back from.

Nothing is deleted here but scratch: what no run asks for goes to .dkd/archive, what is damaged or was replaced to
.dkd/quarantine. Knows nothing of what is in a node.
"""

import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil

from dkd.errors import InputError
from pipeline.plan import STAMP, Plan
from pipeline.rules import FOLDERS

ARCHIVES = ARCHIVE, _ = Path(".dkd/archive"), Path(".dkd/attic")
QUARANTINES = QUARANTINE, _ = Path(".dkd/quarantine"), Path(".dkd/damaged")
"""The second of each is what earlier versions called the first."""
SCRATCH, WORK, FAILED = Path(".dkd/scratch"), Path(".dkd/work"), Path(".dkd/failed")
"""The latter two by key: states of unfinished trainings, and why nodes of the last run failed, in one line."""
LOCKS = Path(".dkd/lock")
RUN_LOCK, JOB_LOCK = LOCKS / "run", LOCKS / "jobs"
NODE = re.compile(r"(.+)-[0-9a-f]{12}(-[0-9a-f]{6})?")
"""Names of nodes, the latter of those that were set aside: nothing restores them."""


def flock(path: Path, kind: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> tuple[IO[str], bool]:
    """A file, and whether it could be locked; it is until the file is closed or this process dies.

    Raises InputError where the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        return file, False
    except OSError as error:
        why = f"no locks on this file system ({error.strerror}); work on one that supports flock"
        raise InputError(f"{path}: {why}") from None
    return file, True


def lock(wait: bool = True) -> tuple[IO[str], dict[str, Any] | None]:
    """The lock of this working directory, held until the file is closed; and who held it before.

    Raises InputError where another run holds it and `wait` is false.
    """
    file, free = flock(RUN_LOCK)
    if not free:
        who = ", process {pid} on {host},".format(**before) if (before := holder()) else ""
        _wait(file, f"another run{who} is at work in this directory", wait)
    before, process = holder(), psutil.Process()
    _sign({"pid": process.pid, "started": process.create_time(), "host": platform.node()})
    jobs, free = flock(JOB_LOCK)
    with jobs:
        if not free:
            _wait(jobs, "jobs of an earlier run have not ended yet", wait)
            before = None
    return file, before


def _wait(file: IO[str], why: str, wait: bool) -> None:
    if not wait:
        raise InputError(f"{why}; try again when it has ended")
    print(f"dkd: {why}; waiting", file=sys.stderr, flush=True)
    fcntl.flock(file, fcntl.LOCK_EX)


def _sign(run: dict[str, Any]) -> None:
    RUN_LOCK.write_text(json.dumps(run), encoding="utf-8")


def holder() -> dict[str, Any] | None:
    """The run that holds the lock, or did so last: its process, when that was started, and its host."""
    try:
        run = json.loads(RUN_LOCK.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return run if isinstance(run, dict) and {"pid", "host", "started"} <= run.keys() else None


def join() -> IO[str]:
    """Make this process a job of the run that holds the lock: it keeps the next run waiting, and ends with its run.

    Raises InputError where there is no run. The process of another machine is not watched: its scheduler ends jobs.
    """
    jobs, _ = flock(JOB_LOCK, fcntl.LOCK_SH)
    if not _at_work(run := holder()):
        raise InputError("the run that this job belongs to has ended; jobs are started by snakemake")
    threading.Thread(target=_end_with, args=(run,), daemon=True).start()
    return jobs


def end_jobs() -> None:
    """Have all jobs end: for the run that holds the lock."""
    _sign({**(holder() or {}), "started": None})


def _at_work(run: dict[str, Any] | None) -> bool:
    if run is None or run["started"] is None or run != holder():
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        if run["host"] != platform.node():
            return True
        process = psutil.Process(run["pid"])
        return process.create_time() == run["started"] and process.status() != psutil.STATUS_ZOMBIE
    return False


def _end_with(run: dict[str, Any]) -> None:
    while _at_work(run):
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


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


def nodes(base: Path = Path()) -> Iterator[Path]:
    """The folders of all nodes that lie under `base`: the working directory, an archive or a quarantine."""
    for top in FOLDERS:
        for name, folders, _ in os.walk(base / top):
            yield from (Path(name, folder) for folder in folders if NODE.fullmatch(folder))
            folders[:] = [folder for folder in folders if not NODE.fullmatch(folder)]


def put(source: Path, folder: Path, aside: Path = QUARANTINE) -> None:
    """Rename a finished node into place; files that lie there are moved to `aside`."""
    if any(path.is_file() for path in folder.rglob("*")):
        set_aside(folder, aside)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    source.rename(folder)


def set_aside(folder: Path, aside: Path = QUARANTINE) -> Path:
    """Move a node to `aside`, under a name that nothing restores; returns where it lies then."""
    base = next(filter(folder.is_relative_to, ARCHIVES), Path())
    return _move(folder, aside / f"{folder.relative_to(base)}-{uuid.uuid4().hex[:6]}")


def _move(folder: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    os.utime(target)  # `gc` counts from now
    return target


def prune(plan: Plan) -> None:
    """Move nodes that the plan does not ask for to the archive; for whoever holds the lock."""
    for folder in [path for path in nodes() if str(path) not in plan.nodes]:
        if is_node(folder):
            shutil.rmtree(ARCHIVE / folder, ignore_errors=True)
            _move(folder, ARCHIVE / folder)
        drop_empty(folder)
    sweep()


def sweep() -> None:
    """Delete scratch of killed jobs, and states of trainings that have finished."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    begun = {path.name: path for path in WORK.glob("*")}
    for folder in filter(is_node, nodes() if begun else ()):
        if left := begun.get(folder.name[-12:]):
            shutil.rmtree(left, ignore_errors=True)


def lay_out() -> None:
    """Make the folders that DVC records, also those that no run needs."""
    for top in map(Path, FOLDERS):
        top.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (top / ".gitignore").touch(exist_ok=False)


def drop_empty(folder: Path) -> None:
    """Remove a folder that holds no file, and each folder above it that is left empty, up to where nodes lie."""
    if not any(path.is_file() for path in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        for above in folder.parents:
            if str(above) in FOLDERS:
                break
            above.rmdir()
