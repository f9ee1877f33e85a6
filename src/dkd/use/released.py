"""Converts checkpoints that the authors of the method have released.

Knows the layout of their files ({"state_dict": ...}, saved by torch), that is, names and shapes. It executes nothing:
a file with anything but tensors and plain containers is refused.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from dkd import checkpoint, files
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter


def convert(
    file: Path,
    *,
    dataset: str,
    class_names: Sequence[str],
    order: Sequence[int],
    sizes: Sequence[int],
    model: dict,
    out: Path,
) -> None:
    """Write the network in `file` as a checkpoint into the folder `out`.

    `class_names`: of all labels, background first. `order` and `sizes`: labels that the network has learned, and their
    number per step. `model`: as under `model:` in params.yaml. Raises InputError if the file cannot be read safely, or
    if names or shapes are not exactly those of this network.
    """
    found = _renamed(_state(file), len(sizes))
    network = Segmenter({**model, "pretrained": False}, sizes)
    checkpoint.load_weights(network, found, file, "check data set, scenario, step and backbone")
    network.spec = dict(model)
    learned = checkpoint.Step(dataset, tuple(order), tuple(sizes), tuple(class_names), "dkd", 1, dict(model))
    checkpoint.save(network, learned, {}, out)


def _state(file: Path) -> dict[str, Tensor]:
    try:
        files.check_regular(file)
        file.open("rb").close()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}; name the .pth file that the authors published") from None
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise InputError(
            f"{file}: refused, as it contains more than tensors and plain containers, or is damaged; download it again"
        ) from None
    except Exception as error:  # A damaged file can raise anything in the reader.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file}: not a file saved by torch ({reason[:200]}); download it again") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InputError(f"{file}: contains no state_dict of tensors; name the .pth file that the authors published")
    return state


def _renamed(state: dict[str, Tensor], steps: int) -> dict[str, Tensor]:
    """The state under the names used here; a name without counterpart is left as it is."""
    heads = {"cls.0.": "auxiliary."} | {f"cls.{step + 1}.": f"heads.{step}." for step in range(steps)}
    prefixes = {"aspp.last_conv.": "last_conv."} | heads
    renamed = {}
    for name, value in state.items():
        # Names saved from DistributedDataParallel begin with "module.".
        name = name.removeprefix("module.")
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        renamed[prefixes.get(prefix, "") + name.removeprefix(prefix)] = value
    return renamed
