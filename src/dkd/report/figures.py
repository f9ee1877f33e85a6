"""Which figures there are, and what each shows of the runs of a benchmark.

Knows what `gather` found, and leaves the drawing to `charts`.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from dkd.report import charts, numbers
from dkd.report.charts import Bar, Series
from dkd.report.gather import Run, by_group
from dkd.report.sheet import Chart, Style
from dkd.report.statistics import spread

Looks = dict[str, Style]


def _miou(runs: Sequence[Run], looks: Looks) -> list[Chart]:
    drawn = []
    for key, words in (("all", "all classes"), ("base", "base classes"), ("new", "new classes")):
        series = []
        for members in by_group(runs).values():
            steps = range(len(members[0].sizes))
            values = [spread([step.metrics[key] for run in members for step in run.at(k)]) for k in steps]
            mean, sd = ([value[name] for value in values] for name in ("mean", "sd"))
            if any(value is not None for value in mean):
                method, names = members[0].method, _names(members)
                series.append(Series(method, method, names, list(steps), mean, sd))
        if series:
            drawn.append(charts.curves(f"mIoU of {words}", series, ("step", "mIoU (%)"), looks, (), markers=True))
    return drawn


def _per_class(runs: Sequence[Run], looks: Looks) -> list[Chart]:
    drawn = []
    for members in by_group(runs).values():
        learned = max((run.learned_at for run in members), key=len)
        if not learned:
            continue
        values = np.full((len(learned), len(members[0].sizes)), np.nan)
        for k, name in enumerate(learned):
            for number in range(values.shape[1]):
                found = [step.metrics["per_class"].get(name) for run in members for step in run.at(number)]
                mean = spread(found)["mean"]
                values[k, number] = np.nan if mean is None else mean
        title = f"{members[0].method}: IoU (%){_mean_of(members)}"
        drawn.append(charts.heat(title, members[0].method, _names(members), list(learned.items()), values))
    return drawn


def _forgetting(runs: Sequence[Run], looks: Looks) -> list[Chart]:
    rows: dict[str, list[Bar]] = {}
    for members in by_group(runs).values():
        _add_bars(rows, members, [numbers.forgetting(run) for run in members])
    title = "Forgetting: best earlier IoU minus final IoU"
    return [charts.bars(title, "points", list(rows.items()), looks)] if rows else []


def _confusion(runs: Sequence[Run], looks: Looks) -> list[Chart]:
    drawn = []
    for members in by_group(runs).values():
        there = [run for run in members if run.steps[-1].counts is not None]
        # Rows of runs with another class order mean other classes.
        alike = [run for run in there if _class_names(run) == _class_names(there[0])]
        if alike:
            counts = np.sum([run.steps[-1].counts for run in alike], axis=0)
            title = f"{members[0].method}: last step (%){_mean_of(alike)}"
            facts = (members[0].method, _names(members), _class_names(there[0]), 1 + members[0].sizes[0])
            drawn.append(charts.confusion(title, *facts, counts))
    return drawn


def _training(runs: Sequence[Run], looks: Looks) -> list[Chart]:
    # A step whose training is missing takes as much room as in other runs.
    lengths = [
        max((len(step.training) for run in runs for step in run.steps if step.number == number), default=0)
        for number in range(max(len(run.sizes) for run in runs))
    ]
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    borders = [start + 0.5 for start in starts[1:]]
    drawn = _totals(runs, looks, starts)
    for term, name in {**numbers.terms(runs), "lr": "Learning rate"}.items():
        series = []
        for run in runs:
            x, y = [], []
            for step in run.steps:
                there = [record for record in step.training if math.isfinite(record.get(term, math.nan))]
                # The last point parts a step from the next.
                x += [starts[step.number] + record["epoch"] for record in there] + [starts[step.number] + 0.5]
                y += [*(numbers.loss(record, term) for record in there), None]
            if any(value is not None for value in y):
                series.append(Series(run.name, run.method, [run.name], x, y, None))
        if series:
            less = " minus entropy of the targets" if numbers.has_entropy(runs, term) else ""
            labels = ("epoch, counted over all steps", "learning rate" if term == "lr" else "loss")
            drawn.append(charts.curves(f"{name}{less}", series, labels, looks, borders, markers=False))
    return drawn


def _totals(runs: Sequence[Run], looks: Looks, starts: Sequence[int]) -> list[Chart]:
    """The total loss over iterations, on the axis of the epochs; `starts`: the epochs before each step."""
    series = []
    for run in runs:
        points = []
        for step in run.steps:
            points += [(starts[step.number], None)] if step.curve else []
            points += [(starts[step.number] + record["epoch"], record["total"]) for record in step.curve]
        if points:
            series.append(Series(run.name, run.method, [run.name], *zip(*points, strict=True), None))
    labels = ("epoch, counted over all steps", "loss")
    title = "Total loss, mean of a few iterations each"
    return [charts.curves(title, series, labels, looks, starts[1:], markers=False)] if series else []


def _drift(runs: Sequence[Run], looks: Looks) -> list[Chart]:
    drawn = []
    for number in range(1, max(len(run.sizes) for run in runs)):
        for key, words in numbers.DRIFT.items():
            rows: dict[str, list[Bar]] = {}
            for members in by_group(runs).values():
                there = [
                    step.drift["classes"]
                    for run in members
                    for step in run.steps
                    if step.number == number and step.drift
                ]
                _add_bars(rows, members, [{name: terms[key] for name, terms in each.items()} for each in there])
            if rows:
                title = f"Step {number}: mean absolute change of {words}"
                drawn.append(charts.bars(title, "", list(rows.items()), looks))
    return drawn


FIGURES: dict[str, Callable[[Sequence[Run], Looks], list[Chart]]] = {
    "miou": _miou,
    "classes": _per_class,
    "forgetting": _forgetting,
    "confusion": _confusion,
    "training": _training,
    "drift": _drift,
}
"""Name of each figure -> the charts of the runs of a benchmark."""


def _add_bars(rows: dict[str, list[Bar]], members: Sequence[Run], found: Sequence[dict[str, float]]) -> None:
    """Add the mean over the members of a group to the row of each class."""
    for name in dict.fromkeys(name for each in found for name in each):
        mean = fmean(each[name] for each in found if name in each)
        rows.setdefault(name, []).append(Bar(members[0].method, _names(members), mean))


def _names(runs: Sequence[Run]) -> list[str]:
    return [run.name for run in runs]


def _class_names(run: Run) -> list[str]:
    return list(run.steps[-1].metrics["per_class"])


def _mean_of(runs: Sequence[Run]) -> str:
    return f", mean of {len(runs)} runs" if len(runs) > 1 else ""
