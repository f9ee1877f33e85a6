"""Turns a checkpoint that the authors of the method published into one of ours.

Knows the layout of their files ({"state_dict": ...} saved by torch) as far as names and shapes go; runs none of it:
a file that holds anything but tensors and plain containers is refused.
"""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from zipfile import BadZipFile

import torch
from torch import Tensor

from dkd import checkpoint
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter

SHOWN = 5


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

    `class_names` of all labels, background first; `order` and `sizes`: labels and classes per step that the network
    has learned; `model` as `model:` of params.yaml. Raises InputError where the file can't be read safely or its names
    or shapes are not exactly those of that network.
    """
    found = _renamed(_state(file), len(sizes))
    network = Segmenter({**model, "pretrained": False}, sizes)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    differ = [name for name in wanted if name in shapes and shapes[name] != wanted[name]]
    wrong = [f"{name} {shapes[name]} instead of {wanted[name]}" for name in differ]
    for what, names in (
        ("missing", [name for name in wanted if name not in found]),
        ("unknown", [name for name in found if name not in wanted]),
        ("of another shape", wrong),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise InputError(
                f"{file}: {what}: {', '.join(names[:SHOWN])}{more}; check data set, scenario, step and backbone"
            )
    network.load_state_dict(found)
    network.spec = dict(model)
    learned = checkpoint.Step(dataset, tuple(order), tuple(sizes), tuple(class_names), "dkd", 1, dict(model))
    checkpoint.save(network, learned, out)


def _state(file: Path) -> dict[str, Tensor]:
    try:
        file.open("rb").close()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from None
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise InputError(f"{file}: refused, it holds more than tensors and plain containers, or is damaged") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{file}: not a file saved by torch ({str(error).splitlines()[0]})") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{file}: holds no state_dict of tensors")
    return state


def _renamed(state: dict[str, Tensor], steps: int) -> dict[str, Tensor]:
    """Their names to ours; a name that has no counterpart stays as it is."""
    heads = {"cls.0.": "auxiliary."} | {f"cls.{step + 1}.": f"heads.{step}." for step in range(steps)}
    prefixes = {"aspp.last_conv.": "last_conv."} | heads
    renamed = {}
    for name, value in state.items():
        # Saved from a wrapper for several devices, every name begins with "module.".
        name = name.removeprefix("module.")
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        renamed[prefixes.get(prefix, "") + name.removeprefix(prefix)] = value
    return renamed
