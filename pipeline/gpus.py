"""Which GPUs a job computes on: each has its own, taken by a lock that the system frees with the process."""

import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dkd.errors import InputError
from pipeline import store

VISIBLE = "CUDA_VISIBLE_DEVICES"
log = logging.getLogger("dkd.gpus")


def found(device: str) -> list[str]:
    """The GPUs that jobs may take, as CUDA calls them; none where `device` is cpu or this machine has none.

    An environment that already says which ones are visible is obeyed.
    """
    if device == "cpu":
        return []
    if (visible := os.environ.get(VISIBLE)) is None:
        return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
    names = [name.strip() for name in visible.split(",")]
    # As CUDA does it: the list ends at the first entry that names no device.
    return names[: next((k for k, name in enumerate(names) if not name or name.startswith("-")), len(names))]


@contextmanager
def taken(names: list[str], number: int) -> Iterator[None]:
    """Hold `number` of `names`, waiting until so many are free, and let this process see those only.

    Nothing happens where there are no names. Raises InputError where there are fewer than `number`.
    """
    if not names:
        yield
        return
    if len(names) < number:
        raise InputError(f"runtime.processes: {number} need as many GPUs, there are {len(names)}; lower it")
    before = os.environ.get(VISIBLE)
    with ExitStack() as stack:
        waiting = False
        while len(held := _hold(stack, names, number)) < number:
            # All or none: of two jobs that each hold a part, neither would ever begin.
            stack.close()
            log.log(logging.DEBUG if waiting else logging.INFO, "waiting for a free GPU")
            waiting = True
            time.sleep(0.5)
        os.environ[VISIBLE] = ",".join(held)
        try:
            yield
        finally:
            del os.environ[VISIBLE]
            if before is not None:
                os.environ[VISIBLE] = before


def _hold(stack: ExitStack, names: list[str], number: int) -> list[str]:
    """Lock `number` GPUs of this machine until `stack` closes, or as many as no other job has."""
    held: list[str] = []
    for name in names:
        if len(held) < number:
            file, free = store.flock(store.LOCKS / f"gpu-{platform.node()}-{name.replace('/', '_')}")
            stack.enter_context(file)
            held += [name] if free else []
    return held
