"""Which GPUs a job computes on: each has its own, taken by a lock that the system frees with the process.

Knows neither rules nor nodes.
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
LOCKS = Path(".dkd/lock")

log = logging.getLogger("dkd.gpus")


def found(device: str) -> list[str]:
    """The GPUs that jobs may take, as CUDA calls them; none where `device` is cpu or this machine has none.

    An environment that already says which ones are visible is obeyed.
    """
    if device == "cpu":
        return []
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
    names = [name.strip() for name in visible.split(",")]
    # As CUDA does it: the list ends at the first entry that names no device.
    return names[: next((k for k, name in enumerate(names) if not name or name.startswith("-")), len(names))]


@contextmanager
def taken(names: list[str], number: int) -> Iterator[str | None]:
    """Hold `number` of `names`, waiting until so many are free, and let this process see those only.

    Yields them as CUDA_VISIBLE_DEVICES has them, None where there are no names. Raises InputError where there are
    fewer than `number`.
    """
    if not names:
        yield None
        return
    if len(names) < number:
        raise InputError(f"runtime.processes: {number} need as many GPUs, there are {len(names)}; lower it")
    before = os.environ.get(VISIBLE)
    with ExitStack() as stack:
        told = False
        while len(held := list(islice((name for name in names if _hold(stack, name)), number))) < number:
            # All or none: of two jobs that each hold a part, neither would ever begin.
            stack.close()
            if not told:
                log.info("waiting for a free GPU")
                told = True
            time.sleep(0.5)
        os.environ[VISIBLE] = ",".join(held)
        try:
            yield os.environ[VISIBLE]
        finally:
            os.environ.pop(VISIBLE)
            if before is not None:
                os.environ[VISIBLE] = before


def _hold(stack: ExitStack, name: str) -> bool:
    """Lock a GPU of this machine until `stack` closes; False where another job has it."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    file = (LOCKS / f"gpu-{platform.node()}-{name.replace('/', '_')}").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    stack.enter_context(file)
    return True
