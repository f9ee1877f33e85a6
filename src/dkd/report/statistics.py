"""Statistics over runs: forgetting, mean and deviation of a group, and paired differences between methods.

Runs of a group differ in seed or class order alone; two methods are paired where both were run with the same seed and
order. Knows numbers, not where they come from.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import fmean, stdev

import numpy as np

SETTING = ("dataset", "scenario", "setting")
GROUP = (*SETTING, "method", "step", "metric", "mean", "sd", "n")
DIFFERENCE = (*SETTING, "method", "than", "step", "metric", "mean", "low", "high", "n")
RESAMPLES = 10_000


def spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Mean (None for no value), sample standard deviation (None for fewer than two) and number of the values."""
    present = [value for value in values if value is not None]
    deviation = stdev(present) if len(present) > 1 else None
    return {"mean": fmean(present) if present else None, "sd": deviation, "n": len(present)}


def forgetting(per_class: Sequence[dict[str, float | None]]) -> dict[str, float]:
    """Best IoU at any earlier step minus the last IoU, in points, of each class of the steps before the last.

    per_class: IoU by class name, one dict per step, background first. Background is no class; a class without IoU at
    the last step, or at all earlier ones, is left out.
    """
    *before, last = per_class
    found = {}
    for name in list(before[-1])[1:] if before else ():
        best = [step[name] for step in before if step.get(name) is not None]
        if best and last.get(name) is not None:
            found[name] = max(best) - last[name]
    return found


def interval(differences: Sequence[float]) -> tuple[float | None, float | None]:
    """Percentile bootstrap interval (95%) of the mean of paired differences; None for fewer than two.

    The resamples are drawn from a fixed seed. For small n there are few distinct resamples, and the interval is then
    too narrow.
    """
    if len(differences) < 2:
        return None, None
    values = np.asarray(differences, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def groups(rows: Sequence[dict], measured: Sequence[str]) -> list[dict]:
    """Mean, deviation and number of each of `measured` for each method and step."""
    found = []
    for setting, methods in _by_setting(rows).items():
        for method, steps in methods.items():
            for step, runs in steps.items():
                head = {**dict(zip(SETTING, setting, strict=True)), "method": method, "step": step}
                for metric in measured:
                    found.append({**head, "metric": metric, **spread([row[metric] for row in runs.values()])})
    return found


def differences(rows: Sequence[dict], measured: Sequence[str]) -> list[dict]:
    """Paired differences, later method less earlier one, with their interval, for each pair of methods and step.

    A network trained on all classes at once has one step, which is compared with the last step of the others.
    """
    return [row for setting, methods in _by_setting(rows).items() for row in _pairs(setting, methods, measured)]


def _pairs(setting: tuple, methods: dict, measured: Sequence[str]) -> Iterator[dict]:
    for (than, before), (method, after) in combinations(methods.items(), 2):
        steps = (
            zip(sorted(after), sorted(before), strict=True)
            if len(after) == len(before)
            else [(max(after), max(before))]
        )
        for late, early in steps:
            step = max(late, early)
            both = [key for key in before[early] if key in after[late]]
            for metric in measured:
                values = [(after[late][key][metric], before[early][key][metric]) for key in both]
                lost = [a - b for a, b in values if a is not None and b is not None]
                if lost:
                    low, high = interval(lost)
                    head = {**dict(zip(SETTING, setting, strict=True)), "method": method, "than": than, "step": step}
                    yield {**head, "metric": metric, "mean": fmean(lost), "low": low, "high": high, "n": len(lost)}


def _by_setting(rows: Sequence[dict]) -> dict[tuple, dict[str, dict[int, dict[str, dict]]]]:
    """Rows by data set, scenario and setting, then by method, step and pair, in their order."""
    found: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for row in rows:
        found[tuple(row[key] for key in SETTING)][row["method"]][row["step"]][row["pair"]] = row
    return found
