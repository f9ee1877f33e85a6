"""Tasks: which pictures each step trains on and is judged by.

Knows the index and the scenario, no pixels. Settings:

    overlap      every picture that shows a class of the step (Cermelli et al., CVPR 2020)
    disjoint     those, less the ones that show a class of a later step (same)
    sequential   the pictures of disjoint; labels of earlier steps stay visible (Michieli and Zanuttigh, 2019)
    partitioned  every picture belongs to one class, drawn from those that it shows, and so to the step of that class
                 (after Kwak et al., arXiv 2405.09858)
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from dkd import scenario, seeds
from dkd.data.index import Index, Row
from dkd.errors import InputError

SETTINGS = ("overlap", "disjoint", "sequential", "partitioned")


class Inputs(NamedTuple):
    """Where the images of a step are found."""

    data: Path
    """Root of the data set."""
    index: Path
    """Index file (`dkd.data.index`)."""
    tasks: Path
    """Tasks file."""


def split(index: Index, *, setting: str, order: Sequence[int], sizes: Sequence[int], seed: int = 0) -> dict:
    """Task of every step, as the content of a tasks file.

    `order` may name the first classes only (the base, say): classes of the data set outside it are later ones. `seed`
    is that of `partitioned`; a picture's class follows from it and the picture's id alone, so that all scenarios that
    begin with the same classes share their first steps.
    train: pictures of the train split by the setting's rule. val: pictures of the val split with a class of the step.
    test: pictures of the test split (val where there is none) with any class seen so far. Ids are sorted.
    Raises InputError where a step has no picture to train on or to be judged by.
    """
    if setting not in SETTINGS:
        raise InputError(f"unknown setting {setting!r}; known: {', '.join(SETTINGS)}")
    steps, seen = [], set()
    train, val, test = _of(index, "train"), _of(index, "val"), _of(index, "test")
    for step, classes in enumerate(scenario.classes_of_steps(order, sizes)):
        now = set(classes)
        seen |= now
        ids = {
            "train": [row.id for row in train if _trains(row, setting, now, seen, seed)],
            "val": [row.id for row in val if not now.isdisjoint(row.classes)],
            "test": [row.id for row in test or val if not seen.isdisjoint(row.classes)],
        }
        for name in ("train", "test"):
            if not ids[name]:
                what = ", ".join(index.class_names[label] for label in classes)
                raise InputError(
                    f"{index.dataset}, {setting}, step {step} ({what}): no {name} picture shows its classes"
                )
        steps.append({"step": step, "classes": list(classes), **{name: sorted(ids[name]) for name in ids}})
    return {
        "dataset": index.dataset,
        "scenario": scenario.name(sizes),
        "setting": setting,
        "order": list(order),
        "steps": steps,
    }


def to_judge(index: Index, seen: Collection[int]) -> list[str]:
    """Ids of the pictures that a network is judged by when it has `seen` these labels, sorted."""
    rows, seen = _of(index, "test") or _of(index, "val"), set(seen)
    return sorted(row.id for row in rows if not seen.isdisjoint(row.classes))


def judged(index: Index, order: Sequence[int], sizes: Sequence[int]) -> dict:
    """Content of a tasks file that serves to judge networks only: steps have test pictures and no others."""
    steps = []
    for step, classes in enumerate(scenario.classes_of_steps(order, sizes)):
        test = to_judge(index, order[: sum(sizes[: step + 1])])
        steps.append({"step": step, "classes": list(classes), "train": [], "val": [], "test": test})
    name = scenario.name(sizes)
    return {"dataset": index.dataset, "scenario": name, "setting": "overlap", "order": list(order), "steps": steps}


def _of(index: Index, split: str) -> list[Row]:
    return [row for row in index.rows if row.split == split]


def _trains(row: Row, setting: str, now: set[int], seen: set[int], seed: int) -> bool:
    """Whether a picture belongs to the step that learns `now` after which `seen` are known."""
    shown = row.classes
    if now.isdisjoint(shown):
        return False
    if setting == "partitioned":
        return shown[seeds.derive(seed, "partition", row.id) % len(shown)] in now
    return setting == "overlap" or seen.issuperset(shown)


def visible(setting: str, order: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Labels that the last step of `sizes` gets to see: its own classes, in `sequential` also those before it."""
    return tuple(order if setting == "sequential" else order[len(order) - sizes[-1] :])


def write(tasks: dict, path: Path) -> None:
    """Write a tasks file (JSON)."""
    path.write_text(json.dumps(tasks) + "\n", encoding="utf-8")


def read(path: Path) -> dict:
    """Read a tasks file; InputError where it is none."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
        tasks["steps"][0]["classes"], tasks["order"], tasks["setting"]
        return tasks
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; make it with `dkd split`") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path}: not a tasks file ({error!r}); make it with `dkd split`") from None
