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
from typing import IO

import psutil

from dkd.errors import InputError
from pipeline.plan import STAMP, Plan
from pipeline.rules import FOLDERS

ARCHIVE, QUARANTINE = Path(".dkd/archive"), Path(".dkd/quarantine")
ARCHIVES = (ARCHIVE, Path(".dkd/attic"))
"""Where archived nodes are looked for; the second is what earlier versions called the first."""
QUARANTINES = (QUARANTINE, Path(".dkd/damaged"))
SCRATCH = Path(".dkd/scratch")
WORK = Path(".dkd/work")
"""By key: states of unfinished trainings."""
FAILED = Path(".dkd/failed")
"""By key: why a node of the last run could not be made, in one line."""
RUN_LOCK, JOB_LOCK = Path(".dkd/lock/run"), Path(".dkd/lock/jobs")
NODE = re.compile(r"(.+)-[0-9a-f]{12}(-[0-9a-f]{6})?")
"""Names of nodes, the latter of those that were set aside: nothing restores them."""


def lock(wait: bool = True) -> tuple[IO[str], bool]:
    """The lock of this working directory, held until the file is closed or this process dies; and whether it waited.

    Raises InputError where another run holds it and `wait` is false, or where the file system has no locks.
    """
    file, jobs = _open(RUN_LOCK), _open(JOB_LOCK)
    waited = not _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if waited:
        holder = _holder()
        who = f", process {holder['pid']} on {holder['host']}," if holder else ""
        _wait(file, f"another run{who} is at work in this directory", wait)
    file.truncate(0)
    process = psutil.Process()
    json.dump({"pid": process.pid, "started": process.create_time(), "host": platform.node()}, file)
    file.flush()
    if not _flock(jobs, fcntl.LOCK_EX | fcntl.LOCK_NB):
        _wait(jobs, "jobs of an earlier run have not ended yet", wait)
        waited = True
    jobs.close()
    return file, waited


def join() -> IO[str]:
    """Make this process a job of the run that holds the lock: it keeps the next run waiting, and ends with its run.

    Raises InputError where there is no run. The run of another machine is not watched: its scheduler ends jobs.
    """
    jobs = _open(JOB_LOCK)
    _flock(jobs, fcntl.LOCK_SH)
    if (holder := _holder()) and holder["host"] != platform.node():
        return jobs
    if holder is None or not _at_work(holder):
        raise InputError("the run that this job belongs to has ended; jobs are started by snakemake")
    threading.Thread(target=_end_with, args=(holder,), daemon=True).start()
    return jobs


def _at_work(holder: dict) -> bool:
    try:
        run = psutil.Process(holder["pid"])
        return run.create_time() == holder["started"] and run.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end_with(holder: dict) -> None:
    while _at_work(holder):
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+", encoding="utf-8")


def _flock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        return False
    except OSError as error:
        raise InputError(
            f"{file.name}: this file system has no locks ({error.strerror}); "
            "put the working directory on one that supports flock"
        ) from None
    return True


def _wait(file: IO[str], why: str, wait: bool) -> None:
    if not wait:
        raise InputError(f"{why}; try again when it has ended")
    print(f"dkd: {why}; waiting", file=sys.stderr, flush=True)
    _flock(file, fcntl.LOCK_EX)


def _holder() -> dict | None:
    try:
        holder = json.loads(RUN_LOCK.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return holder if isinstance(holder, dict) and {"pid", "host", "started"} <= holder.keys() else None


def slug(folder: str) -> str:
    """A folder's name as a single file name; its end where the whole would be too long."""
    return folder.replace("/", "__")[-200:]


def find(folder: str) -> Path | None:
    """Where a finished node lies: in its place, or in an archive; None where in neither."""
    return next((path for path in (Path(folder), *(each / folder for each in ARCHIVES)) if is_node(path)), None)


def at(folder: str) -> Path:
    """The same, and its place where it lies nowhere."""
    return find(folder) or Path(folder)


def is_node(folder: Path) -> bool:
    """Whether a folder holds the last file of a node."""
    return (folder / STAMP).exists()


def put(source: Path, folder: Path, aside: Path = QUARANTINE) -> None:
    """Rename a finished node into place; files that lie there are moved to `aside`."""
    if any(path.is_file() for path in folder.rglob("*")):
        set_aside(folder, aside)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    source.rename(folder)


def set_aside(folder: Path, aside: Path = QUARANTINE) -> Path:
    """Move a folder to `aside`, under a name that nothing restores; returns where it lies then."""
    base = next((each for each in ARCHIVES if folder.is_relative_to(each)), Path())
    return _move(folder, aside / f"{folder.relative_to(base)}-{uuid.uuid4().hex[:6]}")


def _move(folder: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    os.utime(target)  # `gc` counts from now
    return target


def prune(plan: Plan) -> None:
    """Move nodes that the plan does not ask for to the archive; drop what killed jobs left behind.

    For whoever holds the lock, so that no job is at work.
    """
    for folder in [path for path in nodes() if str(path) not in plan.nodes]:
        if is_node(folder):
            shutil.rmtree(ARCHIVE / folder, ignore_errors=True)
            _move(folder, ARCHIVE / folder)
        drop_empty(folder)
    sweep()


def sweep() -> None:
    """Delete scratch of killed jobs, and states of trainings that have finished."""
    for left in SCRATCH.glob("*"):
        shutil.rmtree(left, ignore_errors=True)
    begun = {path.name: path for path in WORK.glob("*")}
    for folder in nodes() if begun else ():
        if folder.name[-12:] in begun and is_node(folder):
            shutil.rmtree(begun[folder.name[-12:]], ignore_errors=True)


def lay_out() -> None:
    """Make the folders that DVC records, also those that no run needs."""
    for top in FOLDERS:
        if not (gitignore := Path(top, ".gitignore")).is_file():
            gitignore.parent.mkdir(parents=True, exist_ok=True)
            gitignore.touch()


def drop_empty(folder: Path) -> None:
    """Remove a folder that holds no file, and each folder above it that is left empty, up to where nodes lie."""
    if not any(path.is_file() for path in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        for above in folder.parents:
            if str(above) in FOLDERS:
                break
            above.rmdir()


def nodes(base: Path = Path()) -> Iterator[Path]:
    """The folders of all nodes that lie under `base`: the working directory, or an archive."""
    for top in FOLDERS:
        for name, folders, _ in os.walk(base / top):
            here = [folder for folder in folders if NODE.fullmatch(folder)]
            yield from (Path(name, folder) for folder in here)
            folders[:] = [folder for folder in folders if folder not in here]
