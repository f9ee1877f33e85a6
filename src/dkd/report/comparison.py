"""Which method is better after the last step, by how much, and in what else its trainings differ.

Knows what `gather` found.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dkd.report import tables
from dkd.report.gather import Found, Run, by_group
from dkd.report.method_labels import leaves

METRICS = {
    "all": "Mean IoU over background and all classes learned so far.",
    "base": "Mean IoU over background and the classes of step 0.",
    "new": "Mean IoU over the classes of all later steps.",
    "harmonic": "Harmonic mean of base and new: high only if both are.",
    "average_over_steps": "Mean of `all` over the steps.",
    "forgetting": "Mean over classes of all steps but the last: best earlier IoU minus last IoU. Lower is better.",
}
"""The columns of the headline tables, and what each means."""
COMPARED = ("all", "base", "new", "harmonic", "forgetting")
LOWER = frozenset({"forgetting"})
"""Metrics of which less is better."""
IDENTITY = frozenset({"dataset", "step", "sizes", "order", "classes", "method", "seed"})
"""Params that tell what a training is of, not how it was done."""


def states(found: Found) -> list[dict[str, Any]]:
    """Of each run its state in words, the metrics after the last step or None, and why it failed or None."""
    rows = []
    for run in found.runs:
        steps, reason = [step.metrics for step in run.steps if step.metrics], None
        if len(steps) == len(run.steps):
            state, values = "finished", tables.after_last(steps)
        else:
            reason, values = found.failed.get(run.name), None
            state = f"{'failed' if reason else 'not finished'}, {len(steps)} of {len(run.steps)} steps evaluated"
        rows.append({"run": run, "values": values, "state": state, "reason": reason})
    return rows


def best(groups: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """(group, metric) of the best means of a benchmark, to one decimal; none where all are equal."""
    found = set()
    for metric in METRICS:
        means = {group["name"]: group["values"][metric]["mean"] for group in groups}
        there = {name: round(mean, 1) for name, mean in means.items() if mean is not None}
        if len(set(there.values())) > 1:
            top = (min if metric in LOWER else max)(there.values())
            found |= {(name, metric) for name, mean in there.items() if mean == top}
    return found


def against(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By benchmark and baseline, the paired difference of every other method after the last step.

    `rows` are those of differences.csv, where each pair of methods stands once. A difference has mean, low, high and
    `nonzero`: whether its interval, to one decimal, excludes 0.
    """
    last: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    steps: dict[tuple, int] = {}
    for row in rows:
        pair = f"{row['dataset']} {row['scenario']} {row['setting']}", row["method"], row["than"]
        if row["step"] > steps.get(pair, -1):
            steps[pair], last[pair] = row["step"], {}
        if row["step"] == steps[pair] and row["metric"] in COMPARED:
            last[pair][row["metric"]] = row
    found: dict = defaultdict(lambda: defaultdict(list))
    for (benchmark, method, than), metrics in last.items():
        for name, baseline, sign in ((method, than, 1.0), (than, method, -1.0)):
            values = {metric: _difference(row, sign) for metric, row in metrics.items()}
            pairs = max((row["n"] for row in metrics.values()), default=0)
            found[benchmark][baseline].append({"method": name, "pairs": pairs, "values": values})
    return {benchmark: dict(by_baseline) for benchmark, by_baseline in found.items()}


def _difference(row: Mapping[str, Any], sign: float) -> dict[str, Any]:
    mean, ends = sign * row["mean"], [row["low"], row["high"]]
    if None in ends:
        return {"mean": mean, "low": None, "high": None, "nonzero": False}
    low, high = sorted(sign * end for end in ends)
    return {"mean": mean, "low": low, "high": high, "nonzero": round(low, 1) > 0 or round(high, 1) < 0}


def differing(runs: Iterable[Run]) -> dict[str, dict[str, str]]:
    """Params of trainings in which the groups of a benchmark differ: by its name, the value of each method.

    Params of step 0 begin with "base: ". A group whose steps or runs have several values has all of them.
    """
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    methods = []
    for members in by_group(runs).values():
        methods.append(members[0].method)
        for step in (step for run in members for step in run.steps if "train" in step.records):
            params = {k: v for k, v in step.records["train"].get("params", {}).items() if k not in IDENTITY}
            for key, value in leaves(params, ""):
                values[key if step.number else f"base: {key}"][methods[-1]].add(json.dumps(value))
    shown = {
        key: {method: ", ".join(sorted(by_method.get(method, ()))) or "-" for method in methods}
        for key, by_method in values.items()
    }
    return {key: by_method for key, by_method in shown.items() if len(set(by_method.values())) > 1}
