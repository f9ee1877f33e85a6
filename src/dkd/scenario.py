"""Scenarios and class orders: which classes each step learns.

Knows nothing of images, files or networks. Classes are given by their labels, 1..C (`dkd.data.classes`).
"""

import re
from collections.abc import Sequence
from itertools import accumulate

from dkd import seeds
from dkd.errors import InputError


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
        raise InputError(f"scenario {list(sizes)} adds up to {sum(sizes)} classes, the data set has {classes}")
    return sizes


def name(sizes: Sequence[int]) -> str:
    """Canonical name: "15-1" where every later step has the same size, else "7+1+2"; a single step is "20"."""
    base, *later = sizes
    return f"{base}-{later[0]}" if len(set(later)) == 1 else "+".join(map(str, sizes))


def classes_of_steps(order: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Labels of each step: `order` cut into pieces of `sizes`."""
    ends = list(accumulate(sizes))
    return [tuple(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def check_order(order: Sequence[int], classes: int) -> tuple[int, ...]:
    """`order` as a tuple, or InputError where it is not a permutation of the labels 1..classes."""
    if sorted(order) != list(range(1, classes + 1)):
        missing = sorted(set(range(1, classes + 1)) - set(order))
        extra = sorted({x for x in order if order.count(x) > 1 or not 1 <= x <= classes})
        raise InputError(
            f"class order must name each label 1..{classes} once; missing {missing}, repeated or unknown {extra}"
        )
    return tuple(order)


def named_order(name: str, classes: int) -> tuple[int, ...] | None:
    """Labels in the order called `name`: `default` (1, 2, ...), `reversed`, or `seed:N` (a random permutation).

    None where no order has this name.
    """
    labels = list(range(1, classes + 1))
    if name == "default":
        return tuple(labels)
    if name == "reversed":
        return tuple(reversed(labels))
    if match := re.fullmatch(r"seed:(\d+)", name):
        # Sorted by digest: the same on every machine and with every version of any library.
        return tuple(sorted(labels, key=lambda label: seeds.derive(int(match[1]), "order", label)))
    return None
