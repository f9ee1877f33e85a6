"""Methods of class-incremental segmentation, one file each; docs/how-to/add-a-method.md says what a file has to hold.

The package itself knows how methods are named, and which of their options are not the loss's. It imports no method.
"""

from types import ModuleType
from typing import Any, NamedTuple

from dkd.errors import InputError

REPLAY = ("memory", "confidence", "replay")
"""Options of a method that replays images of earlier steps; a method has all of them or none."""
BASES = {"sigmoid": "joint", "softmax": "joint-softmax", "unknown": "joint-unknown"}
"""The method that trains step 0, by the `HEAD` of a method: how its network decides between classes."""
PARTS = ("backbone", "decoder", "old", "new")
"""Parts of a network that can learn at rates of their own; `old` and `new` are classifiers."""
RATES = ("lr_factor", *(f"lr_{part}" for part in PARTS))
"""The options that hold these rates: that of all parts, and that of each."""
MAPS = ("backbone", "stages", "activated")
"""Intermediate maps that a method can ask for (fields of `dkd.model.segmenter.Output`)."""


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
    rates: dict[str, float]
    """By part, at which multiple of `lr` it learns in later steps, with weight decay; 0: it is frozen. `lr_factor` is
    that of all parts. Empty: as released by the authors of DKD, decoder and classifiers learn at `head_lr` times `lr`,
    and new classifiers alone have weight decay."""
    train_norms: bool
    """Whether batch norms are trained in later steps; else they stay as the base left them."""
    loss: dict[str, Any]
    """All others, which the method's loss takes by name."""


def sort_options(options: dict[str, Any]) -> Options:
    """Values of a method's options by what reads them."""
    rest = dict(options)
    start, replay = rest.pop("start", "random"), [rest.pop(name, None) for name in REPLAY]
    rates = dict.fromkeys(PARTS, rest.pop("lr_factor")) if "lr_factor" in rest else {}
    rates |= {part: rest.pop(f"lr_{part}") for part in PARTS if f"lr_{part}" in rest}
    return Options(start, *replay, rates, rest.pop("train_norms", False), rest)


def check(method: ModuleType) -> None:
    """Raise InputError where a method's module lacks what training needs."""
    for name in ("TEACHER", "loss"):
        if not hasattr(method, name):
            raise InputError(f"{method.__name__}: {name} is missing; docs/how-to/add-a-method.md says how to write it")
    if unknown := [name for name in getattr(method, "MAPS", ()) if name not in MAPS]:
        raise InputError(f"{method.__name__}: MAPS: unknown {unknown[0]!r}; known: {', '.join(MAPS)}")
    if head(method) not in BASES:
        raise InputError(f"{method.__name__}: HEAD: expected {' or '.join(BASES)}, got {head(method)!r}")


def head(method: ModuleType) -> str:
    """`sigmoid`: each class has a probability of its own; `softmax`: all share one with background; `unknown`: each
    has its own, and so have background and what is unknown.
    """
    return getattr(method, "HEAD", "sigmoid")


def module_name(method: str) -> str:
    """The module of a method: "dkd-m" -> "dkd.methods.dkd_m"."""
    return f"{__name__}.{method.replace('-', '_')}"


def method_name(module: str) -> str:
    """The method of a module or of a file's stem: "dkd.methods.dkd_m" -> "dkd-m"."""
    return module.rpartition(".")[2].replace("_", "-")
