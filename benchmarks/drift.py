"""Prints how far the later steps of finished runs move the logits of earlier classes, by method.

    python -m benchmarks.drift runs/ablation

`none`: the logit of the auxiliary classifier, which new classifiers may start from, on pixels of the new class before
the step. The other columns compare the network after a step with the one before it. Divergences are those of the
distillation (Kullback-Leibler between sigmoids, a sum over earlier classes and a mean over pixels), times 1000: as
recorded in the `first epoch`; after the step on the images that it was trained on (`training`), on `test` images, and
on the pixels of earlier classes there (`test: earlier`). `z+`, `z-` and `logit` are mean absolute changes on test
images. Every value is a mean over the later steps, and ± is the standard deviation over seeds.
"""

import argparse
import csv
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.run import cell
from dkd import checkpoint
from dkd.config import read
from dkd.data import classes, index, reader, tasks, transforms
from dkd.errors import InputError
from dkd.model.segmenter import Output, Segmenter, upsample
from dkd.report import statistics
from dkd.report.method_labels import method_labels
from dkd.use import evidence
from pipeline import plan as plans

MOST = 60
"""Images of each kind that are measured, evenly spaced over all of them."""
CHANGES = ("z+", "z-", "logit")
COLUMNS = ("none", "first epoch", "training", "test", "test: earlier", *CHANGES)


def divergence(before: Output, after: Output) -> Tensor:
    """(H, W) for one image, as a sum over the classes of `before`."""
    y = upsample(before.scores, before.size).double()
    x = upsample(after.scores, after.size).double()[:, : y.shape[1]]
    return (F.softplus(x) - F.softplus(y) - (x - y) * y.sigmoid()).sum(1)[0]


@torch.no_grad()
def measure(before: Segmenter, after: Segmenter, training: Iterator, test: Iterator, old: list, new: list) -> dict:
    """The columns of one step but the recorded one. Images are pairs of pixels (H, W, 3) and labels (H, W)."""
    values: dict[str, list[Tensor]] = defaultdict(list)
    for name, images in (("training", training), ("test", test)):
        for pixels, truth in images:
            batch = transforms.normalise(transforms.channels_first(pixels))[None]
            then, now = before(batch), after(batch)
            far = 1000 * divergence(then, now)
            values[name].append(far.flatten())
            if name == "test":
                values["test: earlier"].append(far[torch.from_numpy(np.isin(truth, old))])
                for term, a, b in zip(CHANGES, evidence.all_terms(now), evidence.all_terms(then), strict=True):
                    values[term].append((a[:, : b.shape[1]] - b).abs().flatten())
            else:
                answer = upsample(then.auxiliary, then.size)[0, 0]
                values["none"].append(answer[torch.from_numpy(np.isin(truth, new))])
    return {name: float(torch.cat(parts).double().mean()) for name, parts in values.items()}


def step(evaluated: plans.Node, plan: plans.Plan, number: int) -> dict[str, float]:
    """The columns of a later step, from the node that evaluates it."""
    trained = plan.nodes[evaluated.inputs["checkpoint"].path]
    networks = [checkpoint.load(Path(each), "cpu")[0] for each in (trained.inputs["previous"].path, trained.folder)]
    table = index.read(Path(evaluated.inputs["index"].path, "index.csv"))
    steps = tasks.read(Path(evaluated.inputs["tasks"].path, "tasks.json"))["steps"]
    labels = classes.value_to_label(table.stored)

    def images(rows: Sequence[index.Row]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        data = Path(evaluated.inputs["data"].path)
        for place in np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int):
            row = rows[place]
            pixels, values = reader.read_pair(data / row.image, data / row.mask, table.encoding)
            yield pixels, labels[values]

    shown = set(steps[number]["train"])
    training = [row for row in table.of("train") if row.id in shown]
    old = [label for each in steps[:number] for label in each["classes"]]
    with Path(trained.folder, "train.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    if "kd_kl" not in first:
        raise InputError(f"{trained.folder}/train.csv: no column kd_kl; leave out runs without logit distillation")
    found = measure(*networks, images(training), images(table.test_rows()), old, steps[number]["classes"])
    return {**found, "first epoch": 1000 * float(first["kd_kl"])}


def main() -> None:
    """Measure all later steps of all runs, and print one row per group of runs that differ only in their seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", type=Path, help="working directory of a finished run, all of whose methods distil")
    os.chdir(parser.parse_args().place)
    torch.set_num_threads(1)
    config = read.load(Path("params.yaml"))
    plan = plans.build(config, fresh=False)
    (summary,) = plan.of("summary")
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    labels = method_labels([run.model_dump(mode="json") for run in config.runs])
    for label, run in zip(labels, config.runs, strict=True):
        results = [summary.inputs[f"{run.name}/{number}"].path for number in range(len(run.sizes))]
        steps = [step(plan.nodes[each], plan, number) for number, each in enumerate(results) if number]
        for column in COLUMNS:
            groups[label][column].append(fmean(values[column] for values in steps))
    print("| method | runs | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 2))
    for name, columns in groups.items():
        cells = [cell(statistics.spread(columns[column]), 2 if column in CHANGES else 1) for column in COLUMNS]
        print(f"| {name} | {len(columns['test'])} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"drift: {error}")
