"""Runs a params file with `kd` and `dkd`, and prints how they differ in each condition.

    python -m benchmarks.study benchmarks/when.yaml

A condition is everything that two runs may share besides method and seed: scenario, setting, and the values of a
sweep. The learning rate of the increments is not part of it, since each method has its own best one. The share of
earlier classes is how many of the classes of earlier steps an image of a step shows, as a mean over its training images
and over the later steps; the network sees these classes, but not their labels. The last column of the first table says
how many pairs of runs would show a difference of 2 points (paired t-test, two-sided at 5%, power 80%). A run whose
training fails, because its loss explodes, say, is named before the tables, and its seed left out. The figure is written
to runs/NAME/study.png and study.pdf. For the tables and the page of all runs as well, run
`snakemake --cores 2 --directory runs/NAME` afterwards.
"""

import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from benchmarks.run import arguments, cell, run
from dkd import scenario
from dkd.config import read
from dkd.config.schema import Run
from dkd.data import index, tasks
from dkd.report import results_file, statistics, tables
from dkd.report.method_labels import leaves
from dkd.use import figure
from pipeline import plan as plans
from pipeline import publish, store

THAN, METHOD = "kd", "dkd"
COLUMNS = ("all", "base", "new", "forgetting")
NOT_A_CONDITION = {"name": True, "method": True, "methods": True, "seed": True, "increment": {"lr"}}
EFFECT = 2.0
"""Points; what the paper's ablation gives the decomposition on VOC 15-1."""
CERTAIN, POWER = 1.960, 0.842
"""Quantiles of the normal distribution at 97.5% and at 80%."""
COLOURS = {"overlap": "#0072b2", "disjoint": "#d55e00", "partitioned": "#009e73", "sequential": "#cc79a7"}
MARKS = "osD^vP*X"


class Condition(NamedTuple):
    """One condition and its results."""

    words: dict[str, str]
    """Scenario, setting, and the values in which conditions differ."""
    share: float
    """Of earlier classes, from 0 to 1."""
    pairs: list[tuple[dict[str, float], dict[str, float]]]
    """Final metrics of `kd` and `dkd` for each seed, and `answers`."""

    def differences(self, metric: str) -> list[float]:
        """`dkd` less `kd` in points, for each seed."""
        return [after[metric] - before[metric] for before, after in self.pairs]

    def needed(self) -> int | None:
        """The number of pairs that would show `EFFECT`, from the spread of these; None for a single pair."""
        deviation = statistics.spread(self.differences("all"))["sd"]
        if deviation is None:
            return None
        # The last term makes up for the deviation being estimated (Guenther, The American Statistician 1981).
        return math.ceil(((CERTAIN + POWER) * deviation / EFFECT) ** 2 + CERTAIN**2 / 2)

    def own(self, metric: str) -> list[str]:
        """Mean and spread of `kd` and of `dkd`, each by itself."""
        return [cell(statistics.spread([pair[place][metric] for pair in self.pairs])) for place in (0, 1)]


def final(run: Run, results: list[Path]) -> dict[str, float | None]:
    """Metrics of a run after its last step, from the result folders of all its steps, and `answers`."""
    protocol = run.evaluate.protocol
    steps = [results_file.read_metrics(folder / "metrics.json", protocol)["protocols"][protocol] for folder in results]
    counts = results_file.read_counts(results[-1], protocol, sum(run.sizes) + 1)
    return {**tables.after_last(steps), **answers(counts, run.sizes[0])}


def answers(counts: np.ndarray, base: int) -> dict[str, float]:
    """Of 100 test pixels of a class, how many get which answer: means over the base's classes, and over later ones.

    counts: (C, C), rows = truth, background first; `base`: number of classes of step 0.
    """
    shares = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    old, new = slice(1, base + 1), slice(base + 1, None)
    return {
        f"{name}: {answer}": float(shares[truth, predicted].sum(1).mean())
        for name, truth in (("base", old), ("new", new))
        for answer, predicted in (("background", slice(1)), ("base class", old), ("new class", new))
    }


def share(tasks_file: Path, index_file: Path) -> float:
    """The share of earlier classes, over the later steps of a scenario."""
    shown = {row.id: set(row.classes) for row in index.read(index_file).rows}
    content, values, earlier = tasks.read(tasks_file), [], set()
    for step in content["steps"]:
        if earlier:
            values.append(fmean(len(shown[each] & earlier) / len(earlier) for each in step["train"]))
        earlier |= set(step["classes"])
    return fmean(values)


def conditions(place: Path) -> tuple[list[Condition], dict[str, str]]:
    """The conditions of a finished run in `place`, the current directory, in their order, and why runs failed."""
    config = read.load(place / "params.yaml")
    plan = plans.build(config, fresh=False)
    reasons, failed = publish.failures(plan), {}
    (summary,) = plan.of("summary")
    found: dict[str, dict[str, Any]] = {}
    for each in config.runs:
        values = each.model_dump(mode="json", exclude=NOT_A_CONDITION)
        condition = found.setdefault(
            json.dumps(values), {"values": dict(leaves(values, "")), "runs": defaultdict(dict)}
        )
        if each.method in condition["runs"][each.seed]:
            sys.exit(f"{place / 'params.yaml'}: {each.name}: a second run of {each.method} in one condition; keep one")
        steps = [plan.nodes[summary.inputs[f"{each.name}/{step}"].path] for step in range(len(each.sizes))]
        condition["files"] = [place / steps[-1].inputs[name].path for name in ("tasks", "index")]
        folders = [place / step.folder for step in steps]
        done = all((folder / "metrics.json").exists() for folder in folders)
        condition["runs"][each.seed][each.method] = final(each, folders) if done else None
        if not done:
            parts = [source.path for step in steps for source in step.inputs.values()] + [step.folder for step in steps]
            failed[each.name] = next((reasons[path] for path in parts if path in reasons), "it has no result")
    flat = [condition["values"] for condition in found.values()]
    differ = [key for key in flat[0] if key != "sizes" and any(values[key] != flat[0][key] for values in flat)]
    for condition in found.values():
        pairs = [(pair.get(THAN), pair.get(METHOD)) for pair in condition["runs"].values()]
        condition["pairs"] = [pair for pair in pairs if all(pair)]
    return [
        Condition(
            {
                "scenario": scenario.name(condition["values"]["sizes"]),
                "setting": condition["values"]["setting"],
                **{key: json.dumps(condition["values"][key]) for key in differ if key != "setting"},
            },
            share(condition["files"][0] / "tasks.json", condition["files"][1] / "index.csv"),
            condition["pairs"],
        )
        for condition in found.values()
        if condition["pairs"]
    ], failed


def signed(values: list[float]) -> str:
    """Mean difference with its interval, and the standard deviation of the differences."""
    low, high = statistics.interval(values)
    spread = "" if low is None else f" [{low:+.1f}, {high:+.1f}] ({statistics.spread(values)['sd']:.1f})"
    return f"{fmean(values):+.1f}{spread}"


def table(found: list[Condition], columns: Sequence[str], rows: list[list[str]]) -> None:
    """Print one row per condition, which its words begin."""
    names = list(found[0].words)
    print("| " + " | ".join([*names, *columns]) + " |")
    print("|" + "---|" * (len(names) + len(columns)))
    for each, row in zip(found, rows, strict=True):
        print("| " + " | ".join([*each.words.values(), *row]) + " |")
    print()


def draw(found: list[Condition], stem: Path) -> None:
    """Difference over all classes against the share of earlier classes, with intervals."""
    scenarios = list(dict.fromkeys(each.words["scenario"] for each in found))
    with figure.style(stem.name):
        page = Figure(figsize=(5.2, 3.2), layout="constrained")
        axes = page.subplots()
        axes.axhline(0, color=figure.SOFT, linewidth=0.6)
        for each in found:
            values, colour = each.differences("all"), COLOURS[each.words["setting"]]
            mean, (low, high) = fmean(values), statistics.interval(values)
            if low is not None:
                axes.plot([100 * each.share] * 2, [low, high], color=colour, linewidth=0.8)
            mark = MARKS[scenarios.index(each.words["scenario"]) % len(MARKS)]
            axes.plot(100 * each.share, mean, mark, color=colour, markersize=4)
        for setting in dict.fromkeys(each.words["setting"] for each in found):
            axes.plot([], [], "-", color=COLOURS[setting], label=setting)
        for mark, name in zip(MARKS, scenarios, strict=False):
            axes.plot([], [], mark, color=figure.SOFT, markersize=4, label=name)
        axes.set_xlabel("classes of earlier steps that an image of a step shows (%)")
        axes.set_ylabel(f"{METHOD} - {THAN}, mean IoU (points)")
        axes.grid(visible=True)
        page.legend(loc="outside right upper", frameon=False)
        figure.place(page)
        for format in ("png", "pdf"):
            figure.save(page, stem.with_suffix(f".{format}"), format)


def main() -> None:
    """Run, then print the differences, the methods by themselves, and their answers, one row per condition each."""
    place = run(arguments(__doc__.splitlines()[0]).parse_args(), "evaluate_all", store.FAILED)
    os.chdir(place)
    found, failed = conditions(place)
    for name, reason in failed.items():
        print(f"{name} is left out: {reason}")
    if not found:
        sys.exit("no seed with both methods is left")
    print(f"{METHOD} - {THAN} after the last step, with 95% interval and (standard deviation of the differences)\n")
    rows = [
        [f"{each.share:.0%}", str(len(each.pairs)), *(signed(each.differences(metric)) for metric in COLUMNS)]
        for each in found
    ]
    table(
        found,
        ("earlier classes shown", "seeds", *COLUMNS, f"seeds for {EFFECT:.0f} points"),
        [[*row, "-" if each.needed() is None else str(each.needed())] for each, row in zip(found, rows, strict=True)],
    )
    table(
        found,
        [f"{method}: {metric}" for metric in ("all", "forgetting") for method in (THAN, METHOD)],
        [[*each.own("all"), *each.own("forgetting")] for each in found],
    )
    print("Of 100 pixels of a base class, or of a new one, how many get which answer, right or wrong\n")
    names = [name for name in found[0].pairs[0][0] if ": " in name]
    table(
        found,
        [f"{method}, {name}" for name in names for method in (THAN, METHOD)],
        [[value for name in names for value in each.own(name)] for each in found],
    )
    draw(found, place / "study")
    print(place / "study.png")


if __name__ == "__main__":
    main()
