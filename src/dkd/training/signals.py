"""SIGINT, SIGTERM and SIGHUP, deferred to a moment that suits the work. Knows nothing of the work."""

import os
import signal
import threading
from types import TracebackType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Deferred:
    """Inside the block a signal is only noted in `number` (0: none); at its end the signal is handled as usual."""

    def __init__(self) -> None:
        self.number = 0
        self._process = os.getpid()
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Deferred":
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.number:
            signal.raise_signal(self.number)
            raise KeyboardInterrupt

    def _note(self, number: int, frame: object) -> None:
        # A forked process inherits this handler; its parent will end it.
        if os.getpid() == self._process:
            self.number = self.number or number
