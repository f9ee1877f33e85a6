"""Reads what nodes wrote (metrics, counts, losses, panels, provenance) for the page; what is not there is listed.

Knows files, not how they are shown.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dkd import scenario


class Step(NamedTuple):
    """What there is of a step of a run; None where it is missing."""

    number: int
    metrics: dict[str, Any] | None
    """Of the run's headline protocol."""
    counts: np.ndarray | None
    """Confusion matrix of that protocol, rows = truth."""
    training: list[dict[str, float]] | None
    """A record per epoch: epoch, lr, total and the terms."""
    panels: dict[str, Any] | None
    """Content of panels.json, and under `folder` where its pictures lie."""
    records: dict[str, dict[str, Any]]
    """provenance.json of what made it: train, evaluate, panels."""


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
        """What runs share that may be compared: data set, scenario and setting."""
        return f"{self.dataset} {scenario.name(self.sizes)} {self.setting}"

    @property
    def group(self) -> str:
        """What runs share that differ in their seed or order."""
        return "_".join([self.dataset, scenario.name(self.sizes), self.setting, self.method])

    @property
    def learned_at(self) -> dict[str, int]:
        """The step that brought each class, in the order of learning; background is of step 0."""
        found: dict[str, int] = {}
        steps = [step for step in self.steps if step.metrics]
        for name in steps[-1].metrics["per_class"] if steps else ():
            position = len(found)
            ends = np.cumsum(self.sizes)
            found[name] = int(np.searchsorted(ends, max(1, position)))
        return found


class Found(NamedTuple):
    """All there is."""

    runs: list[Run]
    groups: dict[str, Any] | None
    """groups.json."""
    final: dict[str, Any] | None
    """summary.json."""
    missing: list[str]
    """What is not there; first what could not be made, with the reason."""


def gather(runs: list[dict[str, Any]], inputs: Mapping[str, Path], failed: Mapping[str, str]) -> Found:
    """Read what there is of `runs` (each with name, dataset, setting, method, seed, sizes, steps and protocol).

    `inputs`: "RUN/STEP", "RUN/STEP/checkpoint" and "RUN/STEP/panels" are folders of nodes, "summary" is that of the
    tables. One that is not there, or not done, is missing; `failed` has the reason for those that could not be made.
    """
    missing: list[str] = []
    reasons: list[str] = []

    def folder(name: str, what: str, file: str) -> Path | None:
        place = inputs.get(name)
        if place is None or not (place / file).is_file():
            if name in failed:
                reasons.append(f"{what} failed: {failed[name]}")
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
            panels = folder(f"{key}/panels", f"{where}: pictures", "panels.json")
            steps.append(_step(number, run["protocol"], results, trained, panels))
        facts = {name: run[name] for name in ("name", "dataset", "setting", "method", "seed", "protocol")}
        found.append(Run(**facts, sizes=tuple(run["sizes"]), steps=tuple(steps)))
    tables = folder("summary", "tables over all runs: they are made when all metrics are there", "summary.json")
    groups = _json(tables / "groups.json") if tables else None
    return Found(found, groups, _json(tables / "summary.json") if tables else None, [*reasons, *missing])


def _step(number: int, protocol: str, results: Path | None, trained: Path | None, panels: Path | None) -> Step:
    metrics = counts = training = shown = None
    if results:
        metrics = _json(results / "metrics.json")["protocols"][protocol]
        if (results / "confusion.npz").is_file():
            with np.load(results / "confusion.npz") as file:
                counts = file[protocol]
    if trained:
        with (trained / "train.csv").open(newline="", encoding="utf-8") as file:
            training = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    if panels:
        shown = {**_json(panels / "panels.json"), "folder": panels}
    places = {"train": trained, "evaluate": results, "panels": panels}
    records = {
        name: _record(place) for name, place in places.items() if place and (place / "provenance.json").is_file()
    }
    return Step(number, metrics, counts, training, shown, records)


def _record(place: Path) -> dict[str, Any]:
    """The record of a node, without the list of its code."""
    record = _json(place / "provenance.json")
    return {
        "folder": place.as_posix(),
        **{k: v for k, v in record.items() if k not in ("code", "definitions", "files")},
    }


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
