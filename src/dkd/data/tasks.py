"""Tasks: which images each step trains on and is evaluated on.

Knows the index and the scenario, no pixels. Settings:

    overlap      every image that shows a class of the step (Cermelli et al., CVPR 2020)
    disjoint     those, less the ones that show a class of a later step (same)
    sequential   the images of disjoint; labels of earlier steps stay visible (Michieli and Zanuttigh, 2019)
    partitioned  every image belongs to one class, drawn from those that it shows, and so to the step of that class
                 (after Kwak et al., arXiv 2405.09858)
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from dkd import json_file, scenario, seeds
from dkd.data import index as index_file
from dkd.data.classes import MAX_CLASSES
from dkd.data.index import Index, Row
from dkd.errors import InputError, shown
from dkd.json_file import listed, text, whole

SETTINGS = ("overlap", "disjoint", "sequential", "partitioned")
REMEDY = "make it with `dkd split`"
LABELS = (listed(whole(1, MAX_CLASSES), 1, MAX_CLASSES), f"a list of labels from 1 to {MAX_CLASSES}")
IDS = (lambda value: isinstance(value, list) and all(map(json_file.path, value)), "a list of ids of images")
CHECKS = {
    "dataset": (text, "a name"),
    "scenario": (text, "the name of a scenario"),
    "setting": (lambda value: value in SETTINGS, f"one of {', '.join(SETTINGS)}"),
    "order": LABELS,
    "steps": (lambda value: isinstance(value, list) and 0 < len(value) <= MAX_CLASSES, "a list of steps"),
}
STEP = {"step": (whole(0, MAX_CLASSES), "a number"), "classes": LABELS, "train": IDS, "val": IDS, "test": IDS}
"""Keys of a step."""


class Inputs(NamedTuple):
    """Where the images of a step are found."""

    data: Path
    """Root of the data set."""
    index: Path
    """Index file (`dkd.data.index`)."""
    tasks: Path
    """Tasks file."""


def split(index: Index, *, setting: str, order: Sequence[int], sizes: Sequence[int], seed: int | None) -> dict:
    """Task of every step, as the content of a tasks file.

    `order` may name the first classes only (those of the base, for example): other classes of the data set count as
    later ones. `seed` is used by `partitioned` alone: an image's class follows from it and the image's id, so that
    scenarios that begin with the same classes share their first steps.
    train: images of the train split by the setting's rule. val: images of the val split with a class of the step.
    test: images of the test split (val where there is none) with any class seen so far. Ids are sorted.
    Raises InputError where a step has no image to train on or to be evaluated on.
    """
    if setting not in SETTINGS:
        raise InputError(f"unknown setting {setting!r}; known: {', '.join(SETTINGS)}")
    steps, seen = [], set()
    train, val = index.of("train"), index.of("val")
    for step, classes in enumerate(scenario.classes_of_steps(order, sizes)):
        now = set(classes)
        seen |= now
        ids = {
            "train": sorted(row.id for row in train if _belongs(row, setting, now, seen, seed)),
            "val": sorted(row.id for row in val if not now.isdisjoint(row.classes)),
            "test": test_ids(index, seen),
        }
        for name in ("train", "test"):
            if not ids[name]:
                what = ", ".join(index.class_names[label] for label in classes)
                raise InputError(f"{index.dataset}, {setting}, step {step} ({what}): no {name} image shows its classes")
        steps.append({"step": step, "classes": list(classes), **ids})
    return _content(index, setting, order, sizes, steps)


def test_only(index: Index, order: Sequence[int], sizes: Sequence[int]) -> dict:
    """Content of a tasks file for evaluation alone: its steps have test images, no others."""
    steps, seen = [], set()
    for step, classes in enumerate(scenario.classes_of_steps(order, sizes)):
        seen |= set(classes)
        steps.append({"step": step, "classes": list(classes), "train": [], "val": [], "test": test_ids(index, seen)})
    return _content(index, "overlap", order, sizes, steps)


def test_ids(index: Index, seen: Collection[int]) -> list[str]:
    """Ids of the images that a network which has `seen` these labels is evaluated on, sorted."""
    return sorted(row.id for row in index.test_rows() if not set(seen).isdisjoint(row.classes))


def visible_labels(setting: str, order: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Labels visible in the masks of the last step: its own classes, in `sequential` also those of earlier steps.

    `order` and `sizes` are those of the steps so far.
    """
    return tuple(order if setting == "sequential" else order[len(order) - sizes[-1] :])


def base_setting(setting: str) -> str:
    """The setting whose step 0 has the same images and labels: `disjoint` for `sequential`, itself for all others."""
    return "disjoint" if setting == "sequential" else setting


def write(tasks: dict, path: Path) -> None:
    """Write a tasks file (JSON)."""
    path.write_text(json.dumps(tasks) + "\n", encoding="utf-8")


def read(path: Path) -> dict:
    """Read a tasks file; InputError where it is missing or malformed."""
    tasks = json_file.read(path, REMEDY)
    json_file.check(tasks, CHECKS, str(path), REMEDY, optional=())
    for number, step in enumerate(tasks["steps"]):
        where = f"{path}: steps[{number}]"
        json_file.check(step, STEP, where, REMEDY, optional=())
        if step["step"] != number:
            raise InputError(f"{where}: step: expected {number}, got {step['step']}; {REMEDY}")
        for split in ("train", "val", "test"):
            if len(set(step[split])) < len(step[split]):
                raise InputError(f"{where}: {split}: lists an image twice; {REMEDY}")
    learned = [label for step in tasks["steps"] for label in step["classes"]]
    if learned != tasks["order"] or len(set(learned)) < len(learned):
        raise InputError(
            f"{path}: order: {shown(tasks['order'])} are not the classes of the steps, once each; {REMEDY}"
        )
    return tasks


def read_both(inputs: Inputs) -> tuple[Index, dict]:
    """Index and tasks of a step; InputError where they do not fit each other."""
    table, tasks = index_file.read(inputs.index), read(inputs.tasks)
    if (last := max(tasks["order"])) >= len(table.class_names):
        raise InputError(
            f"{inputs.tasks}: order: label {last} is not among the {len(table.class_names) - 1} classes of "
            f"{inputs.index}; make the tasks from this index"
        )
    return table, tasks


def _belongs(row: Row, setting: str, now: set[int], seen: set[int], seed: int) -> bool:
    """Whether an image belongs to the step that learns the labels `now`; `seen` are these and all earlier ones."""
    shown = row.classes
    if now.isdisjoint(shown):
        return False
    if setting == "partitioned":
        return shown[seeds.derive(seed, "partition", row.id) % len(shown)] in now
    return setting == "overlap" or seen.issuperset(shown)


def _content(index: Index, setting: str, order: Sequence[int], sizes: Sequence[int], steps: list[dict]) -> dict:
    return {
        "dataset": index.dataset,
        "scenario": scenario.name(sizes),
        "setting": setting,
        "order": list(order),
        "steps": steps,
    }
