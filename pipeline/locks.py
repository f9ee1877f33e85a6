"""Locks that end with their process: one run in a directory with its jobs, and one job on a GPU."""

import fcntl
import json
import logging
import os
import platform
import signal
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from dkd.errors import InputError

FOLDER = Path(".dkd/lock")
RUN, JOBS = FOLDER / "run", FOLDER / "jobs"
"""The first says who holds it, or did so last (`holder`)."""
PER_MACHINE = "locks do not reach from {} to other machines; start no second run in this directory from another one"
ALONE = fcntl.LOCK_EX | fcntl.LOCK_NB
VISIBLE = "CUDA_VISIBLE_DEVICES"
log = logging.getLogger("dkd.locks")


def flock(path: Path, kind: int, byte: int | None) -> tuple[IO[str], bool]:
    """A file, and whether it, or one byte of it, could be locked; it is until it is closed.

    Raises InputError where there are no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # NFS demands that the file is open for reading and writing.
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, kind) if byte is None else fcntl.lockf(file, kind, 1, byte)
    except BlockingIOError:
        return file, False
    except OSError as error:
        cure = "NFS needs its lock service, Lustre the mount option flock; or work on another one"
        raise InputError(f"{path}: no locks on this file system ({error.strerror}): {cure}") from None
    return file, True


def lock(wait: bool) -> tuple[IO[str], dict[str, Any] | None]:
    """The lock of this directory, held until the file is closed; who held it before. InputError instead of a wait."""
    file, free = flock(RUN, ALONE, None)
    if not free:
        who = ", process {pid} on {host},".format(**before) if (before := holder()) else ""
        _wait(file, f"another run{who} is at work in this directory", wait)
    before = holder()
    sign(time.time())
    jobs, free = flock(JOBS, ALONE, None)
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


def sign(started: float | None) -> None:
    """Say who holds the lock, and since when; None has all of its jobs end."""
    RUN.write_text(json.dumps({"pid": os.getpid(), "started": started, "host": platform.node()}), encoding="utf-8")


def holder() -> dict[str, Any] | None:
    """Who holds the lock, or did so last."""
    with suppress(OSError, ValueError):
        return json.loads(RUN.read_text(encoding="utf-8"))


def alone(key: str) -> IO[str]:
    """Be the only job that makes a node: what a scheduler takes for lost and starts again may still be at work."""
    file, free = flock(FOLDER / "nodes", ALONE, int(key, 16))
    if not free:
        file.close()
        log.info("another job is at work on this; waiting for it")
        file, _ = flock(FOLDER / "nodes", fcntl.LOCK_EX, int(key, 16))
    return file


def join() -> IO[str]:
    """Be a job of the run that holds the lock: keep the next run waiting, and end with it. InputError without a run."""
    jobs, _ = flock(JOBS, fcntl.LOCK_SH, None)
    if not _at_work(run := holder()):
        raise InputError("the run that this job belongs to has ended; jobs are started by snakemake")
    if not _held():
        print(f"dkd: warning: {PER_MACHINE.format(run['host'])}", file=sys.stderr)
    threading.Thread(target=_end_with, args=(run,), daemon=True).start()
    return jobs


def _held() -> bool:
    file, free = flock(RUN, fcntl.LOCK_SH | fcntl.LOCK_NB, None)
    file.close()
    return not free


def _at_work(run: dict[str, Any] | None) -> bool:
    if run is None or run["started"] is None or run != holder():
        return False
    # Not every file system shows the locks of other machines, whose scheduler ends jobs.
    return run["host"] != platform.node() or _held()


def _end_with(run: dict[str, Any]) -> None:
    while _at_work(run):
        # Not more often from other machines, for the sake of their file server.
        time.sleep(0.5 if run["host"] == platform.node() else 10)
    os.kill(os.getpid(), signal.SIGTERM)


def gpus(device: str) -> list[str]:
    """The GPUs that jobs may take, as CUDA calls them, of those that the environment lets them see.

    None for "cpu" and "mps".
    """
    if device in ("cpu", "mps"):
        return []
    if (visible := os.environ.get(VISIBLE)) is None:
        return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
    names = [name.strip() for name in visible.split(",")]
    # As CUDA does it: the list ends at the first entry that names no device.
    return names[: next((k for k, name in enumerate(names) if not name or name.startswith("-")), len(names))]


def take_gpus(names: list[str], number: int, shared: bool) -> ExitStack:
    """Hold `number` of `names` until the stack is closed, waiting for them; this process then sees no others.

    Raises InputError where there are fewer; where there are none at all, or they are not `shared` with other jobs,
    nothing happens.
    """
    if 0 < len(names) < number:
        raise InputError(f"runtime.processes: {number} need as many GPUs, there are {len(names)}; lower it")
    stack, level = ExitStack(), logging.INFO
    while names and shared:
        held: list[str] = []
        for name in names:
            if len(held) < number:
                file, free = flock(FOLDER / f"gpu-{platform.node()}-{name.replace('/', '_')}", ALONE, None)
                stack.enter_context(file)
                held += [name] if free else []
        if len(held) == number:
            os.environ[VISIBLE] = ",".join(held)
            break
        # All or none: of two jobs that each hold a part, neither would ever begin.
        stack.close()
        log.log(level, "waiting for a free GPU")
        level = logging.DEBUG
        time.sleep(0.5)
    return stack
