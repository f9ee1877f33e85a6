"""Tables over all runs, from the metrics of their steps.

Knows metrics files only. Writes summary.json and groups.json (after the last step, under each run's headline protocol),
headline.json (means of groups alone, few enough for columns), steps.csv and classes.csv (every step), groups.csv and
differences.csv (every step, over seeds and orders) and table.txt (for people).
"""

import csv
import json
from collections import defaultdict
from pathlib import Path

from dkd import metrics, scenario
from dkd.report import results_file, statistics

MEASURED = ("all", "base", "new", "harmonic", "pixel_accuracy", "average_over_steps", "forgetting")
HEADLINE = ("all", "base", "new", "harmonic", "average_over_steps", "forgetting")
COLUMNS = ("all", "base", "new", "harmonic", "forgetting")


def write(runs: list[dict], found: dict[str, list[Path]], decimals: int, out: Path) -> None:
    """Write all tables of `runs` into `out`.

    A run has name, dataset, setting, method, seed, order, sizes and protocol (the headline's). Runs of the same method
    and setting must differ in seed and order alone. found[name] lists a run's metrics.json, first step first (the
    only one for `joint`).
    """
    steps, classes, final = [], [], {}
    for run in runs:
        per_step = [results_file.read_metrics(path, run["protocol"]) for path in found[run["name"]]]
        headline = [content["protocols"][run["protocol"]] for content in per_step]
        final[run["name"]] = after_last(headline)
        who = {key: run[key] for key in ("name", "dataset", "setting", "method", "seed")}
        for number, content in enumerate(per_step):
            for protocol, values in content["protocols"].items():
                row = {"run": who["name"], **who, "step": content["step"], "protocol": protocol}
                row.pop("name")
                so_far = [each["protocols"][protocol] for each in per_step[: number + 1]]
                means = {key: values[key] for key in (*HEADLINE[:4], "pixel_accuracy")}
                foreground = {f"foreground_{key}": values["foreground"][key] for key in HEADLINE[:4]}
                steps.append({**row, **means, **foreground, **_over_steps(so_far)})
                classes += [{**row, "class": name, "iou": value} for name, value in values["per_class"].items()]
    _json(final, out / "summary.json")
    groups = _groups(runs, final)
    _json(groups, out / "groups.json")
    _json({name: _means(group) for name, group in groups.items()}, out / "headline.json")
    _csv(steps, out / "steps.csv", tuple(steps[0]))
    rows = _headline_rows(runs, steps)
    _csv(statistics.groups(rows, MEASURED), out / "groups.csv", statistics.GROUP)
    _csv(statistics.differences(rows, MEASURED), out / "differences.csv", statistics.DIFFERENCE)
    _csv(classes, out / "classes.csv", tuple(classes[0]))
    (out / "table.txt").write_text(table(final, decimals), encoding="utf-8")


def _headline_rows(runs: list[dict], steps: list[dict]) -> list[dict]:
    """Rows of steps.csv under each run's own protocol, with the scenario, and seed and order as `pair`."""
    facts = {run["name"]: run for run in runs}
    rows = []
    for row in steps:
        run = facts[row["run"]]
        if row["protocol"] == run["protocol"]:
            pair = f"s{run['seed']} {run['order']}"
            rows.append({**row, "scenario": scenario.name(run["sizes"]), "pair": pair})
    return rows


def after_last(found: list[dict]) -> dict[str, float | None]:
    """The headline numbers of a run from the metrics of its steps."""
    return {**{key: found[-1][key] for key in HEADLINE[:4]}, **_over_steps(found)}


def _over_steps(found: list[dict]) -> dict[str, float | None]:
    """What follows from the metrics of all steps up to one."""
    lost = statistics.forgetting([each["per_class"] for each in found])
    return {
        "average_over_steps": metrics.mean([each["all"] for each in found]),
        "forgetting": metrics.mean(list(lost.values())),
    }


def _groups(runs: list[dict], final: dict[str, dict]) -> dict[str, dict]:
    """Mean, standard deviation and number of runs that differ in seed or order alone."""
    members = defaultdict(list)
    for run in runs:
        members["_".join([run["dataset"], scenario.name(run["sizes"]), run["setting"], run["method"]])].append(
            run["name"]
        )
    groups = {}
    for group, names in members.items():
        groups[group] = {"runs": names}
        for key in HEADLINE:
            groups[group][key] = statistics.spread([final[name][key] for name in names])
    return groups


def _means(group: dict[str, dict]) -> dict[str, float]:
    """The means of a group that it has: one without later classes has none of these."""
    return {key: group[key]["mean"] for key in COLUMNS if group[key]["mean"] is not None}


def table(final: dict[str, dict], decimals: int) -> str:
    """The headline numbers as lines of text, in per cent (forgetting in points)."""
    width = max(len("run"), *map(len, final))
    lines = [f"{'run':<{width}}" + "".join(f"{key:>12}" for key in COLUMNS)]
    for name, values in final.items():
        cells = ("-" if values[key] is None else f"{values[key]:.{decimals}f}" for key in COLUMNS)
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines) + "\n"


def _json(content: dict, path: Path) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _csv(rows: list[dict], path: Path, columns: tuple[str, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
