"""What the stand-ins share: a line in the trace for each piece of work, and a way to be slow when a test asks."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def trace(out: Path) -> None:
    """Append the place of the node that is made in `out` to the trace."""
    place = out.name.replace("__", "/").rsplit("-", 1)[0]
    with Path(os.environ["DKD_TRACE"]).open("a") as file:
        file.write(f"{place}\n")
    if os.environ.get("DKD_SLOW") == place:
        (out / "half").write_text("half")
        Path(os.environ["DKD_TRACE"] + ".slow").write_text(str(os.getpid()))
        time.sleep(float(os.environ.get("DKD_SLEEP", "60")))


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Note the GPU that a training sees, where it sees some; fail where another training is on it."""
    device = os.environ.get("CUDA_VISIBLE_DEVICES")
    if device is None:
        yield
        return
    with Path(os.environ["DKD_TRACE"] + ".devices").open("a") as file:
        file.write(f"{device}\n")
    mark = Path(f"{os.environ['DKD_TRACE']}.on-{device}")
    mark.touch(exist_ok=False)
    time.sleep(0.3)
    yield
    mark.unlink()


def number(*content: object) -> int:
    """A number below 10,000 that follows from `content`; paths stand for the files there."""
    text = json.dumps(content, sort_keys=True, default=lambda path: path.read_text())
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) % 10_000
