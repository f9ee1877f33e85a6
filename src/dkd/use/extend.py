"""Prepares one more step for a trained network: classes of newly labelled images that it has not learned yet.

Knows checkpoints, indexes and tasks; the training itself is `dkd.training.loop`. Classes are matched by name. A class
of the new images that the network has learned already is not learned again, and its labels are not used; a class that
has the name of the checkpoint's class 0 is background.
"""

from pathlib import Path

from dkd import checkpoint
from dkd.data import classes, survey, tasks
from dkd.data import index as index_file
from dkd.data.catalog import Contents
from dkd.data.tasks import Inputs
from dkd.errors import InputError


def prepare(folder: Path, root: Path, contents: Contents, split: survey.Share | None, out: Path) -> tuple[Inputs, int]:
    """Write index.csv and tasks.json of the step after the checkpoint in `folder` to `out`; return inputs and step.

    `contents` and `split`: those of the new data set under `root` (`dkd.data.survey`). Labels of the index are those of
    the checkpoint's data set; new classes are appended. Raises InputError if there is no new class, no training image
    of one, or more than 254.
    """
    learned = checkpoint.describe(folder)
    class_names, stored = contents.class_names, contents.stored
    names = [*learned.class_names, *(name for name in class_names[1:] if name not in learned.class_names)]
    if len(names) - 1 > classes.MAX_CLASSES:
        raise InputError(
            f"{root}: {len(names) - 1} classes with those of {folder}; a mask can hold {classes.MAX_CLASSES}"
        )
    labels = {k: names.index(name) for k, name in enumerate(class_names) if k}
    shown = {labels[k] for k in classes.labels_of(stored, len(class_names) - 1)}
    new = [label for label in labels.values() if label and label in shown and label not in learned.order]
    if not new:
        raise InputError(f"{root}: {folder} has learned all of these classes; a new class needs a name of its own")
    values = {value: labels.get(label, label) for value, label in (stored or {k: k for k in labels}).items()}
    contents = contents._replace(class_names=tuple(names), stored=values)
    table, _ = survey.build(root, learned.dataset, contents, decode=True, split=split)
    index_file.write(table, out / "index.csv")
    order, sizes = [*learned.order, *new], [*learned.sizes, len(new)]
    content = tasks.test_only(table, order, sizes)
    train = [row.id for row in table.of("train") if set(new) & set(row.classes)]
    if not train:
        raise InputError(f"{root}: no training image shows {', '.join(names[label] for label in new)}")
    content["steps"][-1]["train"] = sorted(train)
    tasks.write(content, out / "tasks.json")
    return Inputs(root, out / "index.csv", out / "tasks.json"), len(learned.sizes)
