"""The numbers behind the figures and the table of costs, as rows of CSV files.

Knows what `gather` found. Those of the other figures are steps.csv and classes.csv of the tables over all runs.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dkd.report import statistics
from dkd.report.gather import Run

TERMS = {"mbce": "mBCE", "ce": "CE", "bce": "BCE", "kd": "KD", "dkd_pos": "DKD+", "dkd_neg": "DKD-", "ac": "AC"}
"""Loss terms that have a name of their own in the page; others are called as in train.csv."""
SOFT = ("kd", "dkd_pos", "dkd_neg")
"""Terms with soft targets, whose least value is the entropy of these."""
DRIFT = {"positive": "z+", "negative": "z-", "logit": "the logit"}
COST = ("run", "step", "work", "device", "seconds", "images", "images_per_second", "peak_memory_gib", "machine")
LEAST_SHARE = 0.001
"""Of a true class, for a row of confusion.csv; confusion.npz of each result has all counts."""


def write(runs: Sequence[Run], out: Path) -> None:
    """Write forgetting, confusion, training, drift and cost as .csv into `out`."""
    _csv(out / "forgetting.csv", ("run", "class", "learned", "forgetting"), _forgetting(runs))
    _csv(out / "confusion.csv", ("run", "step", "truth", "prediction", "pixels", "share"), _confusion(runs))
    _csv(out / "training.csv", ("run", "step", "epoch", "term", "value"), _training(runs))
    _csv(out / "drift.csv", ("run", "step", "class", "pictures", *DRIFT), _drift(runs))
    _csv(out / "cost.csv", COST, [[row[name] for name in COST] for row in cost(runs)])


def forgetting(run: Run) -> dict[str, float]:
    """Points lost by each class of the steps before the last; empty while metrics of a step are missing."""
    if not all(step.metrics for step in run.steps):
        return {}
    return statistics.forgetting([step.metrics["per_class"] for step in run.steps])


def terms(runs: Iterable[Run]) -> dict[str, str]:
    """The loss terms of all trainings, as train.csv and as the page name them."""
    found = {name for run in runs for step in run.steps for record in step.training for name in record}
    found = {name for name in found - {"epoch", "lr", "total"} if not name.endswith("_kl")}
    known = [name for name in TERMS if name in found]
    return {name: TERMS.get(name, name) for name in [*known, *sorted(found - TERMS.keys())]}


def has_entropy(runs: Iterable[Run], term: str) -> bool:
    """Whether a loss term has soft targets, and their entropy was recorded in every training that has the term."""
    records = [record for run in runs for step in run.steps for record in step.training if term in record]
    return term in SOFT and all(f"{term}_kl" in record for record in records)


def loss(record: dict[str, float], term: str) -> float:
    """A loss term of an epoch, less the entropy of its soft targets where it was recorded."""
    return record.get(f"{term}_kl", record[term])


def cost(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """What each training and evaluation took: the columns `COST`, method and key."""
    rows = []
    for run in runs:
        for step in run.steps:
            for work in ("train", "evaluate"):
                record = step.records.get(work)
                if record is None:
                    continue
                cost = record.get("cost", {})
                seconds, images = cost.get("seconds_training", record.get("seconds")), cost.get("images")
                peak = cost.get("peak_memory_bytes")
                values = (
                    *(run.name, step.number, work, cost.get("device"), seconds, images),
                    round(images / seconds, 2) if images and seconds else None,
                    round(peak / 2**30, 3) if peak else None,
                    _machine(record.get("machine", {})),
                )
                rows.append({**dict(zip(COST, values, strict=True)), "method": run.method, "key": record["key"]})
    return rows


def _machine(facts: dict[str, str | None]) -> str | None:
    """A node, and the GPUs that the job saw there."""
    return f"{facts['node']}, GPU {facts['gpu']}" if facts.get("gpu") else facts.get("node")


def _forgetting(runs: Iterable[Run]) -> Iterable[tuple]:
    for run in runs:
        for name, value in forgetting(run).items():
            yield run.name, name, run.learned_at[name], value


def _confusion(runs: Iterable[Run]) -> Iterable[tuple]:
    for run in runs:
        last = run.steps[-1]
        if last.counts is None:
            continue
        names = list(last.metrics["per_class"])
        share = last.counts / np.maximum(1, last.counts.sum(1, keepdims=True))
        for row, column in np.argwhere(share >= LEAST_SHARE):
            pixels = int(last.counts[row, column])
            yield run.name, last.number, names[row], names[column], pixels, round(float(share[row, column]), 6)


def _training(runs: Sequence[Run]) -> Iterable[tuple]:
    names = terms(runs)
    for run in runs:
        for step in run.steps:
            for record in step.training:
                for term in [term for term in (*names, "lr") if term in record]:
                    yield run.name, step.number, int(record["epoch"]), term, loss(record, term)
            for record in step.curve:
                yield run.name, step.number, record["epoch"], "total", record["total"]


def _drift(runs: Iterable[Run]) -> Iterable[tuple]:
    for run in runs:
        for step in run.steps:
            for name, values in step.drift["classes"].items() if step.drift else ():
                yield run.name, step.number, name, step.drift["pictures"], *(values[key] for key in DRIFT)


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
