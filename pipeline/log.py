"""Where lines of a job go: to the terminal, with the node's name, and to the node's log file, with the time."""

import logging
from pathlib import Path


def begin(label: str, path: Path, quiet: bool = False) -> None:
    """From now on, for all that `dkd` and `pipeline` say; `quiet` leaves out all but errors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal, file = logging.StreamHandler(), logging.FileHandler(path, encoding="utf-8")
    terminal.setFormatter(logging.Formatter(f"{label.replace('%', '%%')}: %(message)s"))
    terminal.setLevel(logging.INFO)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    top = logging.getLogger("dkd")
    top.setLevel(logging.ERROR if quiet else logging.DEBUG)
    top.propagate, top.handlers = False, [terminal, file]
