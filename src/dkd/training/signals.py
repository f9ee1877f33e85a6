"""Signals that ask to stop, SIGINT and SIGTERM, put off to a moment that the work chooses.

Knows nothing of the work.
"""

import os
import signal
import threading
from types import TracebackType

ASKING = (signal.SIGINT, signal.SIGTERM)
AFTER = 20


class Deferred:
    """While entered, a signal is noted in `number` (0: none) and nothing else happens.

    The block is to be left soon after; then the signal does what it would have done without this.
    """

    def __init__(self) -> None:
        self.number = 0
        self._process = os.getpid()
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Deferred":
        if threading.current_thread() is threading.main_thread():
            for number in ASKING:
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
        # A forked process inherits this; what it is to do is its parent's affair.
        if os.getpid() == self._process:
            self.number = self.number or number


def outlive(*_: object) -> None:
    """Let this process live on for a while when it and its parent are asked to stop: the parent may need it till then.

    SIGINT does nothing here, SIGTERM ends the process `AFTER` seconds later.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(AFTER))
