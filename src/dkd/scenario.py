"""Scenarios and class orders: which classes each step learns.

Knows nothing of images, files or networks. Classes are given by their labels, 1..C (`dkd.data.classes`).
"""

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import accumulate, groupby

from dkd import seeds
from dkd.errors import InputError

PLAIN_STEPS, LONGEST_NAME = 19, 60
"""Most steps of a scenario whose folders list the size of each one; most characters of the names of others."""


def step_sizes(scenario: str | Sequence[int], classes: int) -> tuple[int, ...]:
    """Number of classes of each step.

    `scenario` is "A-B" (A classes at the base, then B per step) or a list of sizes, for a data set of `classes`
    foreground classes. Raises InputError where a remainder is left or the sizes do not add up.
    """
    if isinstance(scenario, str):
        match = re.fullmatch(r"(\d+)-(\d+)", scenario)
        if not match or 0 in (base := int(match[1]), each := int(match[2])):
            raise InputError(f"scenario {scenario!r}: write A-B with two positive numbers (15-1), or a list of sizes")
        rest = classes - base
        if rest < 0 or rest % each:
            raise InputError(
                f"scenario {scenario!r} does not fit {classes} classes: {base} at the base leave {rest}, "
                f"which is not a multiple of {each}"
            )
        return (base, *[each] * (rest // each))
    sizes = tuple(scenario)
    if not sizes or min(sizes) < 1:
        raise InputError(f"scenario {list(sizes)}: every step learns at least one class; remove the zero")
    if sum(sizes) != classes:
        raise InputError(f"scenario {list(sizes)} adds up to {sum(sizes)} classes, but there are {classes} to learn")
    return sizes


def name(sizes: Sequence[int]) -> str:
    """Canonical name: "15-1" where every later step has the same size, else "7+1+2"; a single step is "20"."""
    base, *later = sizes
    return f"{base}-{later[0]}" if len(set(later)) == 1 else "+".join(map(str, sizes))


def folder_name(sizes: Sequence[int]) -> str:
    """The sizes of steps as a name of folders: "4+1+1"; "100+1x20" or "10+1x8+...30-3f2a9c1e" where there are many.

    Snakemake refuses names in which a piece is repeated 20 times, and file systems those of more than 255 bytes.
    """
    if len(sizes) <= PLAIN_STEPS:
        return "+".join(map(str, sizes))
    counts = [(size, len(list(equal))) for size, equal in groupby(sizes)]
    parts = [f"{size}x{count}" if count > 1 else str(size) for size, count in counts]
    name = "+".join(parts)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(json.dumps(list(sizes), separators=(",", ":")).encode()).hexdigest()[:8]
    return f"{'+'.join(parts[:3])}+...{len(sizes)}-{digest}"


def classes_of_steps(order: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Labels of each step: `order` cut into pieces of `sizes`."""
    ends = list(accumulate(sizes))
    return [tuple(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def check_order(order: Sequence[int], labels: Sequence[int]) -> tuple[int, ...]:
    """`order` as a tuple, or InputError where it repeats a label, or has one that is not among `labels`."""
    extra = sorted({label for label in order if order.count(label) > 1 or label not in labels})
    if extra or not order:
        raise InputError(
            f"class order must name classes by their labels, {_span(labels)}, each at most once; repeated or unknown "
            f"{extra}"
        )
    return tuple(order)


def named_order(name: str, labels: Sequence[int]) -> tuple[int, ...] | None:
    """`labels` in the order called `name`: `default` (ascending), `reversed`, or `seed:N` (a random permutation).

    None where no order has this name.
    """
    labels = sorted(labels)
    if name == "default":
        return tuple(labels)
    if name == "reversed":
        return tuple(reversed(labels))
    if match := re.fullmatch(r"seed:(\d+)", name):
        # Sorted by digest: the same on every machine and with every version of any library.
        return tuple(sorted(labels, key=lambda label: seeds.derive(int(match[1]), "order", label)))
    return None


def _span(labels: Sequence[int]) -> str:
    labels = sorted(labels)
    if labels == list(range(1, len(labels) + 1)):
        return f"1..{len(labels)}"
    return ", ".join(map(str, labels))
