"""A checkpoint: a folder with model.safetensors (weights) and step.json (what the network is and has learned).

Knows nothing of training or data files. step.json alone determines how to build the network and what its channels mean.
"""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from dkd.data import classes
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter

WEIGHTS, STEP = "model.safetensors", "step.json"


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


def save(model: Segmenter, step: Step, out: Path) -> None:
    """Write both files into the folder `out`."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    # Written by Python: then a full disk is an OSError that names the file.
    (out / WEIGHTS).write_bytes(serialise(tensors))
    (out / STEP).write_text(json.dumps(step._asdict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe(folder: Path) -> Step:
    """Read step.json of a checkpoint; InputError if it is missing or malformed."""
    try:
        content = json.loads((folder / STEP).read_text(encoding="utf-8"))
        return Step(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})
    except OSError:
        raise InputError(f"{folder}: not a checkpoint, {STEP} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: checkpoint can't be read ({error})") from None


def load(folder: Path, device: torch.device | str = "cpu") -> tuple[Segmenter, Step]:
    """The network in eval mode on `device`, and its step.json. Raises InputError if a file is missing or malformed."""
    step = describe(folder)
    try:
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError:
        raise InputError(f"{folder}: not a checkpoint, {WEIGHTS} is missing") from None
    except SafetensorError as error:
        raise InputError(f"{folder}: checkpoint can't be read ({error})") from None
    # All weights are loaded next; downloading pretrained ones first would be in vain.
    model = Segmenter({**step.model, "pretrained": False}, step.sizes)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{folder}: {WEIGHTS} does not fit {STEP} ({str(error).splitlines()[-1].strip()})") from None
    model.spec = dict(step.model)
    return model.to(device).eval(), step


def names(step: Step) -> list[str]:
    """Names of the ids 0, 1, 2, ... (background, then the classes in the order of learning)."""
    return classes.names_by_id(step.order, step.class_names)
