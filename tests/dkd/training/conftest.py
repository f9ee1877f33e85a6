"""Trained bases, and helpers to train, disturb and compare."""

import itertools
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from dkd.methods import finetune, joint, kd
from dkd.training import signals
from tests.dkd.conftest import LATER, RECIPE, train_base, train_step

OPTIONS = {finetune: {}, kd: {"kd": 5.0}}


def tensors(folder):
    return load_file(folder / "model.safetensors")


def base_of(inputs, out, **changes):
    """A base trained into `out`, with its folder, weights and cost."""
    cost = train_base(inputs, out, **changes)
    return SimpleNamespace(folder=out, tensors=tensors(out), cost=cost)


def weights_of(inputs, out, previous, method, step=1, recipe=LATER, **changes):
    """The weights of a step trained into `out`."""
    options = OPTIONS.get(method, recipe.loss_options)
    train_step(inputs, out, previous, method, step, recipe._replace(loss_options=options), **changes)
    return tensors(out)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="session")
def base(prepared, tmp_path_factory):
    return base_of(prepared, tmp_path_factory.mktemp("base") / "s0")


LONG = RECIPE._replace(epochs=4)


def learn(prepared, out, method=joint, **changes):
    """Train base or, with `previous`, step 1; returns the cost."""
    if "previous" in changes:
        return train_step(prepared, out, method=method, **{"recipe": LATER._replace(epochs=4), **changes})
    return train_base(prepared, out, method=method, **{"recipe": LONG, **changes})


def learn_bytes(prepared, out, method=joint, **changes):
    """As `learn`; returns the bytes of what was written, and the cost."""
    cost = learn(prepared, out, method, **changes)
    return [(out / name).read_bytes() for name in ("model.safetensors", "train.csv")], cost


def disturb(method, at, act):
    """The method, but `act` happens in its loss at the `at`-th call, and may change the total."""
    calls = itertools.count(1)
    return watch(method, lambda total: act(total) if next(calls) == at else total)


def watch(method, look):
    """The method, but its loss is what `look` makes of it."""

    def loss(*given, **weights):
        total, terms = method.loss(*given, **weights)
        return look(total), terms

    return SimpleNamespace(__name__=method.__name__, TEACHER=method.TEACHER, loss=loss)


def send(number):
    return lambda total: os.kill(os.getpid(), number) or total


class Stopped(BaseException):
    pass


@pytest.fixture
def stopping():
    """In the test SIGTERM and SIGINT raise Stopped; their handlers are restored afterwards."""

    def stop(number, frame):
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in signals.STOPPING}
    yield stop
    assert all(signal.getsignal(number) is stop for number in before), "training restores handlers"
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def alone(prepared, tmp_path_factory):
    """An undisturbed base of `LONG`: its folder, and the bytes of its files."""
    folder = tmp_path_factory.mktemp("alone") / "s0"
    return SimpleNamespace(folder=folder, made=learn_bytes(prepared, folder)[0])
