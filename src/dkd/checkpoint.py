"""A checkpoint: a folder with model.safetensors (weights, and what a method remembers for the next step) and step.json
(what the network is and has learned).

Knows nothing of training or data files. step.json alone determines how to build the network and what its channels mean.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from dkd import files, json_file
from dkd.data import classes
from dkd.errors import InputError, shown
from dkd.json_file import listed, text, whole
from dkd.model import spec
from dkd.model.segmenter import Segmenter

WEIGHTS, STEP = "model.safetensors", "step.json"
KEPT = "kept."
"""Begins the names of tensors in the file of weights that are none of the network's: what a method remembers."""
NAMED = 5
"""Most weights that an error names."""
REMEDY = "restore the file, or train the step again"
LABELS = f"a list of labels from 1 to {classes.MAX_CLASSES}"
CHECKS = {
    "dataset": (text, "a name"),
    "order": (listed(whole(1, classes.MAX_CLASSES), 1, classes.MAX_CLASSES), LABELS),
    "sizes": (listed(whole(1, classes.MAX_CLASSES), 1, classes.MAX_CLASSES), "a list of positive integers"),
    "class_names": (listed(text, 2, classes.MAX_CLASSES + 1), f"a list of 2 to {classes.MAX_CLASSES + 1} names"),
    "method": (text, "a name"),
    "seed": (whole(0, 2**63 - 1), "an integer of at least 0"),
    "model": (lambda value: isinstance(value, dict), "a map of keys and values"),
    "setting": (lambda value: value is None or text(value), "a name or null"),
    "side": (lambda value: value is None or whole(1, 2**31 - 1)(value), "a positive integer or null"),
}


class Step(NamedTuple):
    """The content of step.json."""

    dataset: str
    order: tuple[int, ...]
    """Labels of the classes learned so far, in the order of learning (`dkd.data.classes`)."""
    sizes: tuple[int, ...]
    """Classes per step so far."""
    class_names: tuple[str, ...]
    """Names of all labels of the data set, background first."""
    method: str
    seed: int
    model: dict
    """The network, as `model:` of params.yaml; `mean` and `std` of its images if they are not ImageNet's."""
    setting: str | None = None
    """Of the scenario (`dkd.data.tasks`); None where it is not known: released, or written by an earlier version."""
    side: int | None = None
    """Of the largest images that the network was trained on: its crops are as if cut out of squares of up to this side
    in pixels. None where it is not known.
    """


def save(model: Segmenter, step: Step, kept: Mapping[str, Tensor], out: Path) -> None:
    """Write both files into the folder `out`; `kept`: what the method remembers for the next step."""
    named = model.state_dict() | {f"{KEPT}{name}": value for name, value in kept.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in named.items()}
    # Written by Python: then a full disk is an OSError that names the file.
    (out / WEIGHTS).write_bytes(serialise(tensors))
    (out / STEP).write_text(json.dumps(step._asdict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe(folder: Path) -> Step:
    """Read step.json of a checkpoint; InputError if it is missing, malformed or contradicts itself."""
    path = folder / STEP
    if not path.exists():
        raise InputError(f"{folder}: not a checkpoint, {STEP} is missing")
    content = json_file.read(path, REMEDY)
    json_file.check(content, CHECKS, str(path), REMEDY, optional=("setting", "side"))
    json_file.check(content["model"], spec.CHECKS, f"{path}: model", REMEDY, optional=spec.OPTIONAL)
    step = Step(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})
    _check_agreement(step, path)
    return step


def _check_agreement(step: Step, path: Path) -> None:
    names, labels, learned = step.class_names, step.order, sum(step.sizes)
    faults = {
        "class_names": len(set(names)) < len(names) and "a name is repeated",
        "order": (len(set(labels)) < len(labels) and f"{shown(labels)} repeats a label")
        or (max(labels) >= len(names) and f"label {max(labels)} is not among the {len(names)} class_names"),
        "sizes": learned != len(labels) and f"{shown(step.sizes)} add up to {learned}, but order has {len(labels)}",
    }
    for key, fault in faults.items():
        if fault:
            raise InputError(f"{path}: {key}: {fault}; {REMEDY}")


def load(folder: Path, device: torch.device | str) -> tuple[Segmenter, Step]:
    """The network in eval mode on `device`, and its step.json. Raises InputError if a file is missing or malformed, or
    if the weights are not those of this network.
    """
    step, path = describe(folder), folder / WEIGHTS
    tensors = {name: value for name, value in _tensors(folder).items() if not name.startswith(KEPT)}
    try:
        # All weights are loaded next; downloading pretrained ones first would be in vain.
        model = Segmenter({**step.model, "pretrained": False}, step.sizes)
    except InputError as error:
        raise InputError(f"{folder / STEP}: {error}; {REMEDY}") from None
    load_weights(model, tensors, path, f"does not fit {STEP}; {REMEDY}")
    model.spec = dict(step.model)
    # The layout in which convolutions are fastest.
    return model.to(device, memory_format=torch.channels_last).eval(), step


def kept(folder: Path) -> dict[str, Tensor]:
    """What the method that trained a checkpoint remembers, by name; empty where it remembers nothing."""
    return {name.removeprefix(KEPT): value for name, value in _tensors(folder).items() if name.startswith(KEPT)}


def _tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    try:
        files.check_regular(path)
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{folder}: not a checkpoint, {WEIGHTS} is missing") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; {REMEDY}") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not readable as weights ({error}); {REMEDY}") from None


def load_weights(model: Segmenter, found: Mapping[Any, Tensor], file: Path, remedy: str) -> None:
    """Load `found`, the weights in `file`, into a network on the CPU.

    Raises InputError unless names, shapes and types are those of the network and all values are finite.
    """
    expected = model.state_dict()
    both = [name for name in expected if name in found]
    shapes = [(name, tuple(found[name].shape), tuple(expected[name].shape)) for name in both]
    types = [(name, _type(found[name]), _type(expected[name])) for name in both]
    for problem, names in (
        ("missing", [name for name in expected if name not in found]),
        ("unknown", [str(name)[:100] for name in found if name not in expected]),
        ("of another shape", [f"{name} {ours} instead of {needed}" for name, ours, needed in shapes if ours != needed]),
        ("of another type", [f"{name} {ours} instead of {needed}" for name, ours, needed in types if ours != needed]),
        ("not finite", (name for name in both if not found[name].isfinite().all())),
    ):
        # Values are read last, where shapes and types are known to be sane.
        if names := list(names):
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            raise InputError(f"{file}: {problem}: {', '.join(names[:NAMED])}{more}; {remedy}")
    model.load_state_dict(found)


def _type(tensor: Tensor) -> str:
    """Type, and layout and device where they are not those of ordinary weights."""
    words = str(tensor.dtype), str(tensor.layout), str(tensor.device)
    return " ".join(word for word in words if word not in ("torch.strided", "cpu")).replace("torch.", "")


def names(step: Step) -> list[str]:
    """Names of the ids 0, 1, 2, ... (background, then the classes in the order of learning)."""
    return classes.names_by_id(step.order, step.class_names)
