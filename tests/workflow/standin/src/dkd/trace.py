"""What the stand-ins share: a line in the trace for each piece of work, and a way to be slow when a test asks."""

import hashlib
import json
import os
import time
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


def number(*content: object) -> int:
    """A number below 10,000 that follows from `content`; paths stand for the files there."""
    text = json.dumps(content, sort_keys=True, default=lambda path: path.read_text())
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) % 10_000
