"""Signals that ask a command to stop, turned into an exit that cleans up. Knows no command."""

import os
import shutil
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

from dkd.files import TEMPORARY

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """While entered, the first of STOPPING raises SystemExit(128 + its number); later ones are ignored.

    On leaving, temporary folders that are still there are removed, and an exception that a signal caused on its way
    becomes that exit.
    """

    def __init__(self) -> None:
        self.number = 0
        self._process = os.getpid()
        self._before: dict[int, object] = {}
        self._on_child: object = None

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        while TEMPORARY:
            shutil.rmtree(TEMPORARY.pop(), ignore_errors=True)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.number:
            signal.signal(signal.SIGCHLD, self._on_child or signal.SIG_DFL)
            self._leave()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A forked process that loads images: SIGTERM ends it, the others are its parent's to handle.
            if number == signal.SIGTERM:
                os._exit(128 + number)
        elif not self.number:
            self.number = number
            # torch's handler would raise an error for each process that the same signal ended.
            self._on_child = signal.signal(signal.SIGCHLD, lambda *_: None)
            self._leave()

    def _leave(self) -> NoReturn:
        sys.exit(128 + self.number)
