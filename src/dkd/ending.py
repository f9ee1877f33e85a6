"""The end of a process: at once, since to free all that torch and timm have brought takes two seconds.

Knows no command and no tensors.
"""

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def end(main: Callable[[], int | None]) -> NoReturn:
    """Call `main`, and end this process with the status that it returns or exits with; atexit's functions don't run."""
    status = 0
    try:
        status = main() or 0
    except SystemExit as asked:
        # As Python does: any other object is printed.
        status = 1 if isinstance(asked.code, str) else asked.code or 0
        if isinstance(asked.code, str):
            print(asked.code, file=sys.stderr)
    for child in multiprocessing.active_children():
        if child.daemon:
            child.terminate()
        child.join()
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # No room, or nobody reads any more: Python's own end reports it.
        sys.exit(status)
    os._exit(status)
