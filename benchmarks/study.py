"""Runs a params file with `kd` and `dkd`, and prints how they differ in each condition.

    python benchmarks/study.py benchmarks/when.yaml

A condition is everything that two runs may share besides method and seed: scenario, setting, and the values of a sweep.
The share of earlier classes is how many of the classes of earlier steps an image of a step shows, as a mean over its
training images and over the later steps; the network sees these classes, but not their labels. The figure is written to
runs/NAME/study.png and study.pdf.
"""

import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.run import arguments, run  # noqa: E402
from dkd import scenario  # noqa: E402
from dkd.config import read  # noqa: E402
from dkd.data import index, tasks  # noqa: E402
from dkd.report import statistics  # noqa: E402
from dkd.report.method_labels import leaves  # noqa: E402
from dkd.use import figure  # noqa: E402
from pipeline import plan as plans  # noqa: E402

THAN, METHOD = "kd", "dkd"
COLUMNS = ("all", "base", "new", "forgetting")
COLOURS = {"overlap": "#0072b2", "disjoint": "#d55e00", "partitioned": "#009e73", "sequential": "#cc79a7"}
MARKS = "osD^vP*X"


class Condition(NamedTuple):
    """One condition and its results."""

    words: dict[str, str]
    """Scenario, setting, and the values in which conditions differ."""
    share: float
    """Of earlier classes, from 0 to 1."""
    pairs: list[tuple[dict[str, float], dict[str, float]]]
    """Final metrics of `kd` and `dkd` for each seed."""

    def differences(self, metric: str) -> list[float]:
        """`dkd` less `kd` in points, for each seed."""
        return [after[metric] - before[metric] for before, after in self.pairs]


def share(tasks_file: Path, index_file: Path) -> float:
    """The share of earlier classes, over the later steps of a scenario."""
    shown = {row.id: set(row.classes) for row in index.read(index_file).rows}
    content, values, earlier = tasks.read(tasks_file), [], set()
    for step in content["steps"]:
        if earlier:
            values.append(fmean(len(shown[each] & earlier) / len(earlier) for each in step["train"]))
        earlier |= set(step["classes"])
    return fmean(values)


def conditions(place: Path) -> list[Condition]:
    """The conditions of a finished run in `place`, the current directory, in their order."""
    config = read.load(place / "params.yaml")
    final = json.loads((place / "metrics" / "summary.json").read_text())
    plan = plans.build(config, fresh=False)
    (summary,) = plan.of("summary")
    found: dict[str, dict[str, Any]] = {}
    for each in config.runs:
        values = each.model_dump(mode="json", exclude={"name", "method", "methods", "seed"})
        condition = found.setdefault(
            json.dumps(values), {"values": dict(leaves(values, "")), "runs": defaultdict(dict)}
        )
        condition["runs"][each.seed][each.method] = final[each.name]
        node = plan.nodes[summary.inputs[f"{each.name}/{len(each.sizes) - 1}"].path]
        condition["files"] = [place / node.inputs[name].path for name in ("tasks", "index")]
    flat = [condition["values"] for condition in found.values()]
    differ = [key for key in flat[0] if key != "sizes" and any(values[key] != flat[0][key] for values in flat)]
    return [
        Condition(
            {
                "scenario": scenario.name(condition["values"]["sizes"]),
                "setting": condition["values"]["setting"],
                **{key: json.dumps(condition["values"][key]) for key in differ if key != "setting"},
            },
            share(condition["files"][0] / "tasks.json", condition["files"][1] / "index.csv"),
            [(pair[THAN], pair[METHOD]) for pair in condition["runs"].values() if {THAN, METHOD} <= pair.keys()],
        )
        for condition in found.values()
    ]


def cell(values: list[float]) -> str:
    """Mean difference with its interval, and the standard deviation of the differences."""
    low, high = statistics.interval(values)
    spread = "" if low is None else f" [{low:+.1f}, {high:+.1f}] ({statistics.spread(values)['sd']:.1f})"
    return f"{fmean(values):+.1f}{spread}"


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
    """Run, then print one row per condition."""
    place = run(arguments(__doc__.splitlines()[0]).parse_args())
    os.chdir(place)
    found = conditions(place)
    names = list(found[0].words)
    print(f"{METHOD} - {THAN} after the last step, with 95% interval and (standard deviation of the differences)\n")
    print("| " + " | ".join([*names, "earlier classes shown", "seeds", *COLUMNS]) + " |")
    print("|" + "---|" * (len(names) + 2 + len(COLUMNS)))
    for each in found:
        cells = [cell(each.differences(metric)) for metric in COLUMNS]
        print("| " + " | ".join([*each.words.values(), f"{each.share:.0%}", str(len(each.pairs)), *cells]) + " |")
    draw(found, place / "study")
    print(f"\n{place / 'study.png'}")


if __name__ == "__main__":
    main()
