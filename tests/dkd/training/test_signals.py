"""Signals that are deferred."""

import signal

import pytest

from dkd.training import signals
from tests.dkd.training.conftest import Stopped


def test_signals_are_handled_as_usual_at_the_end_of_the_block(stopping):
    reached = False
    with pytest.raises(Stopped), signals.Deferred() as deferred:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        reached = deferred.number == signal.SIGTERM
    assert reached and signal.getsignal(signal.SIGTERM) is stopping
    with pytest.raises(Stopped), signals.Deferred():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("whatever comes of it")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals.Deferred() as deferred:
        signal.raise_signal(signal.SIGINT)
    assert deferred.number == 0
    signal.signal(signal.SIGINT, stopping)
