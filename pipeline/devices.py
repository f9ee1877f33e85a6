"""Which GPU a job computes on: each training has one to itself, each evaluation one that no other evaluation is on.

An evaluation may run beside a training: it is short and holds one network without gradients. A device is taken by a
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
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOCK = Path(".dkd/lock")

log = logging.getLogger("dkd.devices")


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
def taken(names: list[str], use: str) -> Iterator[str | None]:
    """Hold one of `names` for a `use` ("train" or "evaluate"), and let this process see that one only.

    Waits until one is free; yields its name, None where there are no names.
    """
    if not names:
        yield None
        return
    with ExitStack() as stack:
        told = False
        while (name := next((name for name in _calm_first(names, use) if _hold(stack, name, use)), None)) is None:
            if not told:
                log.info("waiting for a free GPU")
                told = True
            time.sleep(0.5)
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = name
        try:
            yield name
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
