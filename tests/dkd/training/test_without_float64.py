"""Training, keeping and evaluating on a device that has no float64, as Apple's GPUs have none.

No such device is at hand: one of torch's unused kinds of devices is pretended. It computes on the CPU, and refuses
float64 and the mixing of its tensors with those of the CPU, as the real ones do.
"""

import sys
from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from dkd import devices, evaluation, methods, precision
from dkd.methods import dkd, finetune, ilt, joint_unknown, kd, lwf, lwf_mc, mib, plop, rcil_terms, ssul, star
from dkd.training import exemplars
from dkd.training.exemplars import Selection
from tests.dkd.conftest import RUNTIME, SCORING, train_step
from tests.dkd.training.conftest import base_of, recipe_of

KIND = "lazy"


class Pretended(torch.Tensor):
    """A tensor of the CPU that says it is on the device."""

    @staticmethod
    def __new__(cls, held):
        facts = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.size(), device=KIND, **facts)
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})


class Made(TorchFunctionMode):
    """Within it, what is made of numbers is made on the CPU first."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            return function(*args, **{**kwargs, "device": "cpu"}).to(kwargs["device"])
        if function is torch.Tensor.new_tensor:
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(args[0].device)
        if function is torch.Tensor.tolist and isinstance(args[0], Pretended):
            return args[0].held.tolist()
        return function(*args, **kwargs)


class Device(TorchDispatchMode):
    """Within it, tensors can be made on the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})


def computed(function, args, kwargs):
    """What the function gives, on the device if its arguments are or it is asked to put it there."""
    given = tree_leaves((args, kwargs))
    here = any(isinstance(value, Pretended) for value in given)
    if here and "_to_copy" not in str(function) and "copy_" not in str(function):
        others = [value for value in given if isinstance(value, torch.Tensor) and not isinstance(value, Pretended)]
        assert all(other.dim() == 0 for other in others), f"{function} mixes devices"
    if kwargs.get("device") is not None:
        here = torch.device(kwargs["device"]).type == KIND
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda value: value.held if isinstance(value, Pretended) else value, (args, kwargs))
    found = function(*args, **kwargs)
    if not here:
        return found
    tensors = [value for value in tree_leaves(found) if isinstance(value, torch.Tensor)]
    assert all(tensor.dtype != torch.float64 for tensor in tensors), f"{function} gives float64"
    return tree_map(lambda value: Pretended(value) if isinstance(value, torch.Tensor) else value, found)


class PretendedAccelerator(Accelerator):
    device = torch.device(KIND)


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", (KIND,))
    monkeypatch.setattr(devices, "accelerator", lambda *_: PretendedAccelerator(cpu=True))
    monkeypatch.setattr(sys.modules["torch.optim.sgd"], "_device_dtype_check_for_fused", lambda *_, **__: None)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with Device(), Made():
        yield torch.device(KIND)
    AcceleratorState._reset_state(reset_partial_state=True)


def test_the_pretended_device_refuses_float64(device):
    ones = torch.ones(2, device=device)
    assert ones.device.type == KIND and (ones + 1).sum().item() == 4
    with pytest.raises(AssertionError, match="gives float64"):
        ones.double()
    with pytest.raises(AssertionError, match="mixes devices"):
        ones + torch.ones(2)


@pytest.fixture(scope="module")
def bases(prepared, base, soft_base, tmp_path_factory):
    """A base for each kind of classifiers, trained on the CPU."""
    unknown = base_of(prepared, tmp_path_factory.mktemp("unknown") / "s0", method=joint_unknown)
    return {"sigmoid": base, "softmax": soft_base, "unknown": unknown}


@pytest.fixture
def trained(bases, prepared, tmp_path):
    """Trains a step with a method, wherever tensors are put, into a folder."""

    def train(method, name):
        out = tmp_path / name
        train_step(prepared, out, bases[methods.head(method)].folder, method, 1, recipe_of(method, epochs=1))
        return out

    return train


SLOW = [
    pytest.param(each, marks=pytest.mark.slow) for each in (finetune, ilt, kd, lwf, lwf_mc, mib, rcil_terms, ssul, star)
]


@pytest.mark.parametrize("method", [dkd, plop, *SLOW], ids=lambda method: methods.method_name(method.__name__))
def test_a_step_is_that_of_a_cpu(method, trained, request):
    known = trained(method, "cpu")
    request.getfixturevalue("device")
    found = trained(method, "device")
    weights = load_file(found / "model.safetensors")
    for name, tensor in load_file(known / "model.safetensors").items():
        ours = weights[name]
        assert ours.dtype == tensor.dtype and torch.allclose(ours, tensor, rtol=1e-2, atol=1e-3), name
    rows = [(folder / "train.csv").read_text().splitlines()[1:] for folder in (known, found)]
    for theirs, ours in zip(*rows, strict=True):
        assert [float(x) for x in ours.split(",")] == pytest.approx(
            [float(x) for x in theirs.split(",")], rel=1e-2, abs=1e-5
        )


def test_a_base_is_evaluated_and_chooses_exemplars_there(base, prepared, tmp_path, request):
    places = []
    for name in ("cpu", "device"):
        if name == "device":
            request.getfixturevalue("device")
        places.append(tmp_path / name)
        places[-1].mkdir()
        evaluation.evaluate(base.folder, 0, SCORING, prepared, RUNTIME, places[-1])
        exemplars.build(base.folder, 1, Selection(8, 0.6, 0), None, prepared, RUNTIME, places[-1])
    for file in ("metrics.json", "memory.json"):
        assert (places[0] / file).read_text() == (places[1] / file).read_text()
