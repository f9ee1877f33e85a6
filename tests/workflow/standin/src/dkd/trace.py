"""What the stand-ins share: a trace of the work done, and ways for a test to hold work up or to have it differ."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SALT = os.environ.get("DKD_SALT", "")
"""Results that were made with another salt differ."""
LIMIT = 150.0
"""Seconds after which nobody waits any more."""


def trace(out: Path) -> None:
    """Append the place of the node that is made in `out` to the trace; wait where a test holds this node up."""
    place = out.name.replace("__", "/").rsplit("-", 1)[0]
    with Path(os.environ["DKD_TRACE"]).open("a") as file:
        file.write(f"{place}\n")
    if os.environ.get("DKD_HELD") == place:
        (out / "half").write_text("half")
        Path(os.environ["DKD_TRACE"] + ".held").write_text(str(os.getpid()))
        _wait(Path(os.environ["DKD_TRACE"] + ".go").exists)


@contextmanager
def alone() -> Iterator[None]:
    """Note the GPU that is seen, where some is; fail where other work is on it.

    Under DKD_TOGETHER, wait until so many pieces of work have begun, which must be on GPUs of their own.
    """
    device = os.environ.get("CUDA_VISIBLE_DEVICES")
    if device is None:
        yield
        return
    mark, devices = Path(f"{os.environ['DKD_TRACE']}.on-{device}"), Path(os.environ["DKD_TRACE"] + ".devices")
    mark.touch(exist_ok=False)
    with devices.open("a") as file:
        file.write(f"{device}\n")
    _wait(lambda: len(devices.read_text().splitlines()) >= int(os.environ.get("DKD_TOGETHER", "1")))
    yield
    mark.unlink()


def number(*content: object) -> int:
    """A number below 10,000 that follows from `content` and the salt; paths stand for the files there."""
    text = json.dumps([SALT, *content], sort_keys=True, default=lambda path: path.read_text())
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) % 10_000


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("nobody let go")
        time.sleep(0.05)
