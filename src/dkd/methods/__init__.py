"""Methods of class-incremental segmentation, one file each; docs/how-to/add-a-method.md says what a file has to hold.

The package itself knows how methods are named, and which of their options are not the loss's. It imports no method.
"""

from types import ModuleType
from typing import Any, NamedTuple

from dkd.errors import InputError

REPLAY = ("memory", "confidence", "replay")
"""Options of a method that replays images of earlier steps; a method has all of them or none."""


class Options(NamedTuple):
    """A method's options, sorted by what reads them."""

    head_init: str
    """The option `start`: how new classifiers are initialised (`random` without it)."""
    memory: int | None
    """The most exemplars that are kept; None: the method does not replay."""
    confidence: float | None
    """Threshold of pseudo-labels for exemplars."""
    replay: str | None
    """Which labels replayed images have."""
    loss: dict[str, Any]
    """All others, which the method's loss takes by name."""


def sort_options(options: dict[str, Any]) -> Options:
    """Values of a method's options by what reads them."""
    rest = dict(options)
    start, replay = rest.pop("start", "random"), [rest.pop(name, None) for name in REPLAY]
    return Options(start, *replay, rest)


def check(method: ModuleType) -> None:
    """Raise InputError where a method's module lacks what training needs."""
    for name in ("TEACHER", "loss"):
        if not hasattr(method, name):
            raise InputError(f"{method.__name__}: {name} is missing; docs/how-to/add-a-method.md says how to write it")


def module_name(method: str) -> str:
    """The module of a method: "dkd-m" -> "dkd.methods.dkd_m"."""
    return f"{__name__}.{method.replace('-', '_')}"


def method_name(module: str) -> str:
    """The method of a module or of a file's stem: "dkd.methods.dkd_m" -> "dkd-m"."""
    return module.rpartition(".")[2].replace("_", "-")
