"""The end of a process: without freeing one by one all that torch and timm have brought, which takes a second.

Knows no command and no tensors.
"""

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def end(main: Callable[[], int | None]) -> NoReturn:
    """Call `main`, and end this process with the status that it returns or exits with.

    Threads are waited for and the functions of atexit run, as ever. So does everything after an unknown error.
    """
    statuses: list[int] = []

    def leave() -> None:
        # Where output can't be written, Python's own end reports it.
        with suppress(OSError, ValueError):
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
            if statuses:
                os._exit(statuses[0])

    # What is registered first runs last.
    atexit.register(leave)
    try:
        status = main() or 0
    except SystemExit as asked:
        # As Python does: any other object is printed.
        status = 1 if isinstance(asked.code, str) else asked.code or 0
        if isinstance(asked.code, str):
            print(asked.code, file=sys.stderr)
    statuses.append(status)
    sys.exit(status)
