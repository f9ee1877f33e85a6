"""Reads what nodes wrote (metrics, counts, losses, sample predictions, provenance) and lists what is missing.

Knows files, not how they are shown.
"""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dkd import scenario
from dkd.methods import BASES
from dkd.report import results_file


class Step(NamedTuple):
    """What there is of a step of a run; None where it is missing."""

    number: int
    metrics: dict[str, Any] | None
    """Under the run's headline protocol."""
    counts: np.ndarray | None
    """Confusion matrix of that protocol, rows = truth."""
    training: list[dict[str, float]]
    """A record per epoch: epoch, lr, total and the terms; empty where it is missing."""
    curve: list[dict[str, float]]
    """A record per window of iterations: iteration, epoch (with a fraction) and total; empty where it is missing."""
    samples: dict[str, Any] | None
    """Content of panels.json, with the folder of its images as `folder`."""
    records: dict[str, dict[str, Any]]
    """provenance.json of what made it: train, evaluate, panels."""

    @property
    def drift(self) -> dict[str, Any] | None:
        """Mean absolute change of z+, z- and the logit by class, under `classes`; see `dkd.use.samples`."""
        return self.samples["drift"] if self.samples else None


class Run(NamedTuple):
    """A run and its steps."""

    name: str
    dataset: str
    setting: str
    method: str
    seed: int
    sizes: tuple[int, ...]
    protocol: str
    steps: tuple[Step, ...]

    @property
    def benchmark(self) -> str:
        """Runs with the same data set, scenario and setting may be compared."""
        return f"{self.dataset} {scenario.name(self.sizes)} {self.setting}"

    @property
    def group(self) -> str:
        """Runs of a group differ in seed or class order alone."""
        return "_".join([self.dataset, scenario.name(self.sizes), self.setting, self.method])

    @property
    def learned_at(self) -> dict[str, int]:
        """The step that added each class, in the order of learning; background belongs to step 0."""
        steps = [step for step in self.steps if step.metrics]
        ends = np.cumsum(self.sizes)
        names = steps[-1].metrics["per_class"] if steps else ()
        return {name: int(np.searchsorted(ends, max(1, k))) for k, name in enumerate(names)}

    def place(self, step: Step) -> int:
        """Which step a step is shown as; joint training has one, after which all classes are learned."""
        return len(self.sizes) - 1 if self.method.partition("[")[0] in BASES.values() else step.number

    def at(self, number: int) -> list[Step]:
        """The steps with metrics that are shown as a step of the scenario: one or none."""
        return [step for step in self.steps if step.metrics and self.place(step) == number]


class Found(NamedTuple):
    """All there is."""

    runs: list[Run]
    groups: dict[str, Any] | None
    """groups.json."""
    final: dict[str, Any] | None
    """summary.json."""
    differences: list[dict[str, Any]]
    """Rows of differences.csv, numbers as numbers."""
    missing: list[str]
    """What is not there; first what could not be made, with the reason."""
    failed: dict[str, str]
    """By run: why the first of its parts that failed could not be made."""


def gather(runs: list[dict[str, Any]], inputs: Mapping[str, Path], failed: Mapping[str, str]) -> Found:
    """Read what there is of `runs` (each with name, dataset, setting, method, seed, sizes, steps and protocol).

    `inputs`: "RUN/STEP", "RUN/STEP/checkpoint" and "RUN/STEP/panels" are folders of nodes, "summary" is that of the
    tables. One that is not there, or not finished, is missing; `failed` has the reason for those that could not be
    made.
    """
    missing: list[str] = []
    reasons: list[str] = []
    stopped: dict[str, str] = {}

    def folder(name: str, what: str, file: str) -> Path | None:
        place = inputs.get(name)
        if place is None or not (place / file).is_file():
            if name in failed:
                reasons.append(f"{what} failed: {failed[name]}")
                run = name.partition("/")[0]
                stopped.setdefault(run, f"{what.removeprefix(f'{run}, ')}: {failed[name]}")
            else:
                missing.append(what)
            return None
        return place

    found = []
    for run in runs:
        steps = []
        for number in run["steps"]:
            key, where = f"{run['name']}/{number}", f"{run['name']}, step {number}"
            results = folder(key, f"{where}: metrics", "metrics.json")
            trained = folder(f"{key}/checkpoint", f"{where}: training", "train.csv")
            samples = folder(f"{key}/panels", f"{where}: sample predictions", "panels.json")
            steps.append(_step(number, run["protocol"], results, trained, samples))
        facts = {name: run[name] for name in ("name", "dataset", "setting", "method", "seed", "protocol")}
        found.append(Run(**facts, sizes=tuple(run["sizes"]), steps=tuple(steps)))
    tables = folder(
        "summary", "tables over all runs: they are made once the metrics of all runs are available", "summary.json"
    )
    groups, final = (_json(tables / name) if tables else None for name in ("groups.json", "summary.json"))
    differences = _differences(tables) if tables else []
    return Found(found, groups, final, differences, [*reasons, *missing], stopped)


def by_group(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each group."""
    groups = defaultdict(list)
    for run in runs:
        groups[run.group].append(run)
    return groups


def _step(number: int, protocol: str, results: Path | None, trained: Path | None, samples: Path | None) -> Step:
    metrics = counts = shown = None
    training = curve = []
    if results:
        metrics = results_file.read_metrics(results / "metrics.json", protocol)["protocols"][protocol]
        if (results / "confusion.npz").is_file():
            counts = results_file.read_counts(results, protocol, len(metrics["per_class"]))
    if trained:
        training = _numbers(trained / "train.csv")
        # Trainings of earlier versions have none, or not all.
        if (trained / "loss.csv").is_file():
            curve = [record for record in _numbers(trained / "loss.csv") if math.isfinite(record["total"])]
    if samples:
        shown = {**_json(samples / "panels.json"), "folder": samples}
    places = {"train": trained, "evaluate": results, "panels": samples}
    records = {
        name: _record(place) for name, place in places.items() if place and (place / "provenance.json").is_file()
    }
    return Step(number, metrics, counts, training, curve, shown, records)


def _numbers(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _differences(tables: Path) -> list[dict[str, Any]]:
    with (tables / "differences.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counts = dict.fromkeys(("step", "n"), int)
    kinds = {**counts, **dict.fromkeys(("mean", "low", "high"), float)}
    return [{**row, **{name: kind(row[name]) if row[name] else None for name, kind in kinds.items()}} for row in rows]


def _record(place: Path) -> dict[str, Any]:
    """The record of a node, without the list of its code."""
    record = _json(place / "provenance.json")
    shown = {name: value for name, value in record.items() if name not in ("code", "definitions", "files")}
    return {"folder": place.as_posix(), **shown}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
