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

    Threads are waited for, and the functions of atexit run. After an unknown error, Python ends as it always does.
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
        sys.exit(main())
    except SystemExit as asked:
        # As Python has it: None is success, and any other object is printed.
        statuses.append(asked.code if isinstance(asked.code, int) else int(asked.code is not None))
        raise
