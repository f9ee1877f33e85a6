"""Tasks: which pictures each step trains on and is judged by.

Knows the index and the scenario, no pixels. Settings (Cermelli et al., CVPR 2020): *overlap* = every picture that shows
a class of the step; *disjoint* = the same, less the pictures that show a class of a later step.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from dkd import scenario
from dkd.datasets.index import Index
from dkd.errors import InputError


def split(index: Index, *, setting: str, order: Sequence[int], sizes: Sequence[int]) -> dict:
    """Task of every step, as the content of a tasks file.

    `order` may name the first classes only (the base, say): classes of the data set outside it are later ones.
    train: pictures of the train split by the setting's rule. val: pictures of the val split with a class of the step.
    test: pictures of the test split (val where there is none) with any class seen so far. Ids are sorted.
    Raises InputError where a step has no picture to train on or to be judged by.
    """
    foreground = len(index.class_names) - 1
    shown = {name: [row for row in index.rows if row.split == name] for name in ("train", "val", "test")}
    test = shown["test"] or shown["val"]
    steps, seen = [], set()
    for step, classes in enumerate(scenario.classes_of_steps(order, sizes)):
        now = set(classes)
        seen |= now
        later = set(range(1, foreground + 1)) - seen if setting == "disjoint" else set()
        ids = {
            "train": [row.id for row in shown["train"] if now & set(row.classes) and not later & set(row.classes)],
            "val": [row.id for row in shown["val"] if now & set(row.classes)],
            "test": [row.id for row in test if seen & set(row.classes)],
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
