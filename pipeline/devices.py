"""Which GPUs a job computes on: each training has its own, each evaluation one that no other evaluation is on.

An evaluation may run beside a training: it is short and holds no gradients. A device is taken by a
lock, which the system frees with the process; so trainings of several runs keep out of each other's way as well. Knows
neither rules nor nodes.
"""

import fcntl
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

from dkd.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOCK = Path(".dkd/lock")

log = logging.getLogger("dkd.devices")


def found(device: str, number: int = 1) -> list[str]:
    """The GPUs that jobs may take, as CUDA calls them; none where `device` is cpu or this machine has none.

    An environment that already says which ones are visible is obeyed. Raises InputError where there are some, but fewer
    than the `number` that one job needs.
    """
    names = _found(device)
    if 0 < len(names) < number:
        raise InputError(f"runtime.processes: {number} need as many GPUs, there are {len(names)}; lower it")
    return names


def _found(device: str) -> list[str]:
    if device == "cpu":
        return []
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
    names = [name.strip() for name in visible.split(",")]
    # As CUDA does it: the list ends at the first entry that names no device.
    return names[: next((k for k, name in enumerate(names) if not name or name.startswith("-")), len(names))]


@contextmanager
def taken(names: list[str], use: str, number: int = 1) -> Iterator[str | None]:
    """Hold `number` of `names` for a `use` ("train" or "evaluate"), and let this process see those only.

    Waits until so many are free; yields them as CUDA_VISIBLE_DEVICES has them, None where there are no names.
    """
    if not names:
        yield None
        return
    with ExitStack() as stack:
        told = False
        while len(held := list(islice((n for n in _calm_first(names, use) if _hold(stack, n, use)), number))) < number:
            # All or none: of two jobs that each hold a part, neither would ever begin.
            stack.close()
            if not told:
                log.info("waiting for a free GPU")
                told = True
            time.sleep(0.5)
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = ",".join(held)
        try:
            yield os.environ[VISIBLE]
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def _calm_first(names: list[str], use: str) -> list[str]:
    """For an evaluation, devices that no training is on come first."""
    if use == "train":
        return names

    def busy(name: str) -> bool:
        with ExitStack() as stack:
            return not _hold(stack, name, "train", fcntl.LOCK_SH)

    return sorted(names, key=busy)


def _hold(stack: ExitStack, name: str, use: str, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock a device of this machine for a use until `stack` closes; False where somebody has it."""
    LOCK.mkdir(parents=True, exist_ok=True)
    file = (LOCK / f"gpu-{platform.node()}-{name.replace('/', '_')}-{use}").open("w")
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    stack.enter_context(file)
    return True
