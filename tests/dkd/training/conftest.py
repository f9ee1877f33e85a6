"""Trained bases, and helpers to train, disturb and compare."""

import itertools
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from dkd import checkpoint
from dkd.methods import finetune, joint, joint_softmax, kd, sort_options
from dkd.training import signals
from tests.dkd.conftest import LATER, RECIPE, train_base, train_step

OPTIONS = {finetune: {}, kd: {"kd": 5.0}}


def tensors(folder):
    """The weights of a checkpoint."""
    found = load_file(folder / "model.safetensors")
    return {name: value for name, value in found.items() if not name.startswith(checkpoint.KEPT)}


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


def recipe_of(method, **changes):
    """The recipe of a later step with the method's own options."""
    values = {k: v[0] if isinstance(v, tuple) else v for k, v in getattr(method, "OPTIONS", {}).items()}
    options = sort_options(values)
    own = {"head_init": options.head_init, "rates": options.rates, "train_norms": options.train_norms}
    return LATER._replace(loss_options=options.loss, **own, **changes)


@pytest.fixture(scope="session")
def soft_base(prepared, tmp_path_factory):
    """A base with a softmax."""
    return base_of(prepared, tmp_path_factory.mktemp("soft") / "s0", method=joint_softmax)


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
    return [(out / name).read_bytes() for name in ("model.safetensors", "train.csv", "loss.csv")], cost


def disturb(method, at, act):
    """The method, but `act` happens in its loss at the `at`-th call, and may change the total."""
    calls = itertools.count(1)
    return watch(method, lambda total: act(total) if next(calls) == at else total)


def watch(method, look):
    """The method, but its loss is what `look` makes of it."""

    def loss(*given, **weights):
        total, terms = method.loss(*given, **weights)
        return look(total), terms

    names = {"TEACHER", "HEAD", "MAPS", "prepare", "remember"} & vars(method).keys()
    contract = {name: vars(method)[name] for name in names}
    return SimpleNamespace(__name__=method.__name__, **contract, loss=loss)


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
