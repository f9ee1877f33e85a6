"""From the items of `runs:` to single runs: products of lists, class orders, names, and which runs are the same.

Does not know sections and their defaults.
"""

import errno
import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from dkd import scenario
from dkd.config import base
from dkd.config.base import suggest
from dkd.config.schema import LONGEST_NAME, Increment, Item, Run
from dkd.errors import InputError, shorten, shown

MOST_RUNS = 2000
"""Bounds the time and memory that planning takes."""


class Choice(NamedTuple):
    """One combination of the values that an item lists."""

    item: Item
    tag: str | None
    """What distinguishes it in the run's name: its class order, if the item lists several, and values of a sweep."""
    where: str
    """File and item, as errors name them."""


def expand(items: list[Any], path: Path) -> Iterator[Choice]:
    """All combinations of all items, in order; raises InputError for a faulty item, or for more than MOST_RUNS."""
    axes = [_axes(item, f"{path}: runs[{i}]") for i, item in enumerate(items)]
    numbers = [_number(each) for each in axes]
    if sum(numbers) > MOST_RUNS:
        most = numbers.index(max(numbers))
        raise InputError(
            f"{path}: runs: {sum(numbers):,} runs, {numbers[most]:,} of them from runs[{most}]; a plan has at most "
            f"{MOST_RUNS:,}, so shorten the lists"
        )
    for i, (item, each) in enumerate(zip(items, axes, strict=True)):
        where = f"{path}: runs[{i}]"
        if numbers[i] > 1 and item.get("name") is not None:
            raise InputError(
                f"{where}.name: {shorten(repr(item['name']))} would name {numbers[i]:,} runs; leave it out where keys "
                "have lists"
            )
        swept = each.pop("sweep", {})
        for values in itertools.product(*each.values()):
            single = dict(zip(each, values, strict=True))
            method = single.get("method", ("", None))[0]
            for more in itertools.product(*_relevant(swept, method).values()):
                tree = reduce(base.merge, (value for value, _ in more), {})
                given = {key: value for key, (value, _) in single.items()} | ({"sweep": tree} if tree else {})
                tags = [tag for _, tag in (*single.values(), *more) if tag]
                yield Choice(base.validated(Item, given, [(f"{where}.", given)]), "_".join(tags) or None, where)


def _relevant(swept: dict[str, list], method: Any) -> dict[str, list]:
    """The axes of a sweep without those of other methods' options."""
    return {
        key: values for key, values in swept.items() if not key.startswith("methods.") or key.split(".")[1] == method
    }


def _number(axes: dict[str, Any]) -> int:
    """How many runs the axes of an item give."""
    swept = axes.get("sweep", {})
    others = math.prod(len(values) for key, values in axes.items() if key not in ("sweep", "method"))
    methods = [value for value, _ in axes.get("method", [("", None)])]
    return others * sum(math.prod(map(len, _relevant(swept, method).values())) for method in methods)


def _axes(item: Any, where: str) -> dict[str, Any]:
    """For each key of an item the values it can take, each with its tag; for `sweep` such a map."""
    if not isinstance(item, dict):
        raise InputError(f"{where}: expected a map with the keys {', '.join(Item.model_fields)}; got {shown(item)}")
    axes: dict[str, Any] = {}
    for key, value in item.items():
        if key == "sweep":
            axes[key] = _swept(value, f"{where}.{key}")
            continue
        # [7, 1, 1] is one scenario, [3, 1, 2] and [cat, dog] one order; only lists of such values are choices.
        choices = isinstance(value, list) and key != "set"
        if choices and key == "scenario":
            choices = any(not isinstance(x, int) for x in value)
        if choices and key == "order":
            choices = any(isinstance(x, list) or _is_whole_order(x) for x in value)
        if value == [] and key != "set":
            raise InputError(f"{where}.{key}: empty list")
        tagged = key == "order" and choices and len(value) > 1
        values = value if choices else [value]
        axes[key] = [(x, _tag(x, number) if tagged else None) for number, x in enumerate(values, start=1)]
    return axes


def _swept(sweep: Any, where: str) -> dict[str, list[tuple[dict[str, Any], str]]]:
    """The axes of `sweep: {increment.lr: [0.001, 0.002]}`: each value as a map, with its tag "lr-0.001"."""
    if not isinstance(sweep, dict):
        raise InputError(f"{where}: expected a map from keys (increment.lr) to lists of values; got {shown(sweep)}")
    axes = {}
    for key, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{where}.{key}: expected a list of values; got {shown(values)}")
        words = [f"{key.rpartition('.')[2]}-{shown(value)}" for value in values]
        tags = [re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-") for word in words]
        axes[key] = [(base.nested(key, value), tag) for value, tag in zip(values, tags, strict=True)]
    return axes


def _is_whole_order(word: Any) -> bool:
    """Whether a word of `order:` stands for a whole order, not for a class."""
    return isinstance(word, str) and (
        word.startswith("seed:") or word.endswith(".txt") or scenario.named_order(word, [1]) is not None
    )


def _tag(order: Any, number: int) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", Path(order).stem) if isinstance(order, str) else f"o{number}"


def class_order(order: Any, names: Sequence[str], labels: Sequence[int], folder: Path) -> tuple[int, ...]:
    """A class order as labels, which may leave out some of `labels`, those that the masks of the data set can show.

    `order`: None or `default` (as the data set numbers them), `reversed`, `seed:N` (random), a file relative to
    `folder` with one label or class name per line (or all labels on one), or a list of labels or class names.
    `names`: class names, label 0 first. Raises InputError unless the order names classes, each at most once.
    """
    order = "default" if order is None else order
    if isinstance(order, str):
        if (drawn := re.fullmatch(r"seed:(\d+)", order)) and (len(drawn[1]) > 10 or int(drawn[1]) >= 2**31):
            raise InputError(f"order {shorten(repr(order))}: expected seed:N with N below 2^31")
        if (named := scenario.named_order(order, labels)) is not None:
            return named
        path = folder / order
        try:
            if path.exists() and not path.is_file():
                # Reading a pipe would wait for a writer.
                raise OSError(errno.EINVAL, "not a file")
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"order {shorten(repr(order))}: expected default, reversed, seed:N or a readable file "
                f"({getattr(error, 'strerror', None) or 'not UTF-8 text'}: {path})"
            ) from None
        words = lines[0].replace(",", " ").split() if len(lines) == 1 and len(labels) > 1 else lines
        order = [int(word) if word.isdecimal() and len(word) < 10 else word for word in words]
    return scenario.check_order(_labels(order, names), labels)


def _labels(order: Any, names: Sequence[str]) -> list[int]:
    if not isinstance(order, list):
        raise InputError(f"order: expected a list of labels or class names, got {shown(order)}")
    labels = []
    for entry in order:
        if type(entry) is int:
            labels.append(entry)
        elif entry in names[1:]:
            labels.append(names.index(entry))
        else:
            raise InputError(f"order: unknown class {shorten(repr(entry))}; {suggest(entry, names[1:])}")
    return labels


def name(item: Item, sizes: Sequence[int], tag: str | None) -> str:
    """The name of a run: its own, or one made of its parts.

    One that is too long keeps its beginning and end, with a digest between them.
    """
    if item.name is not None:
        return item.name
    parts = [item.dataset, scenario.name(sizes), item.setting, item.method, f"s{item.seed}", *([tag] if tag else [])]
    made = "_".join(parts)
    if len(made) <= LONGEST_NAME:
        return made
    return f"{made[:60]}..{hashlib.sha256(made.encode()).hexdigest()[:8]}..{made[-48:]}"


def check_steps(increment: Increment, last: int, where: str) -> None:
    """Raises InputError where `increment.steps` has a step after the `last`; `where` begins the error."""
    for step in increment.steps:
        if int(step) > last:
            number = f"the last is {last}" if last else "there is only the base"
            raise InputError(f"{where}: increment.steps.{step}: there is no step {step}, {number}; remove it")


def check_distinct(runs: list[Run], path: Path) -> None:
    """Raises InputError where two runs are identical, or have the same name."""
    seen: dict[str, str] = {}
    for run in runs:
        content = run.model_dump_json(exclude={"name"})
        if content in seen:
            raise InputError(f"{path}: runs: {seen[content]!r} and {run.name!r} are identical; remove one")
        seen[content] = run.name
    for taken, number in Counter(run.name for run in runs).items():
        if number > 1:
            raise InputError(f"{path}: runs: two different runs have the name {taken!r}; give each a `name:`")
