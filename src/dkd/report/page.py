"""One page of all results that needs nothing besides itself, and its figures as files.

Knows what `gather` found. Writes index.html; miou, classes, forgetting, confusion, training and drift as .png; and
forgetting, confusion, training, drift and cost as .csv (the numbers of the other two are steps.csv and classes.csv).
"""

import base64
import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import jinja2
import numpy as np

from dkd.report import charts, gather
from dkd.report.charts import Series
from dkd.report.gather import Found, Run
from dkd.use.figure import Figure

ASSETS = Path(__file__).with_name("assets")
HEADLINE = ("all", "base", "new", "harmonic", "average_over_steps", "forgetting")
TERMS = {"mbce": "mBCE", "kd": "KD", "dkd_pos": "DKD+", "dkd_neg": "DKD-", "ac": "AC"}
SOFT = ("kd", "dkd_pos", "dkd_neg")
MOVED = {"positive": "z+", "negative": "z-", "logit": "logit"}
PANEL_BYTES = 6_000_000
"""What pictures may take of the page, encoded."""
SHARE = 0.001
"""Least share of a true class that confusion.csv has a row for; confusion.npz of each result has all counts."""


def write(
    runs: list[dict[str, Any]], inputs: Mapping[str, Path], decimals: int, failed: Mapping[str, str], out: Path
) -> None:
    """Write the page of `runs` and its figures into `out`; see `gather` for what `inputs` and `failed` may hold."""
    found = gather.gather(runs, inputs, failed)
    benchmarks = defaultdict(list)
    for run in found.runs:
        benchmarks[run.benchmark].append(run)
    figures = {name: {which: draw(of) for which, of in benchmarks.items()} for name, draw in FIGURES.items()}
    for name, by_benchmark in figures.items():
        drawn = [each for several in by_benchmark.values() for each in several]
        charts.sheet(drawn or [_nothing(name)]).save(out / f"{name}.png", optimize=True)
    _csv(out / "forgetting.csv", ("run", "class", "learned", "forgetting"), _forgetting_rows(found.runs))
    _csv(out / "confusion.csv", ("run", "step", "truth", "prediction", "pixels", "share"), _confusion_rows(found.runs))
    _csv(out / "training.csv", ("run", "step", "epoch", "term", "value"), _training_rows(found.runs))
    header = ("run", "step", "class", "pictures", *MOVED)
    _csv(out / "drift.csv", header, _drift_rows(found.runs))
    cost = _cost(found.runs)
    _csv(out / "cost.csv", tuple(COST), [[row[name] for name in COST] for row in cost])
    panels, left_out = _panels(benchmarks)
    if left_out:
        found.missing.append(f"pictures that would make this page too large: {left_out} (see panels/)")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = lambda value, places=decimals: "-" if value is None else f"{value:.{places}f}"
    methods = list(dict.fromkeys(run.method for run in found.runs))
    text = environment.get_template("page.html").render(
        found=found,
        benchmarks={name: _facts(name, of, figures) for name, of in benchmarks.items()},
        groups=_groups(found),
        runs=[(run, (found.final or {}).get(run.name)) for run in found.runs],
        headline=HEADLINE,
        methods=[(name, *charts.style(name)) for name in methods],
        classes=list(dict.fromkeys(name for run in found.runs for name in run.learned_at)),
        panels=panels,
        cost=cost,
        records=_records(found.runs),
        origin=_origin(found.runs),
        css=(ASSETS / "page.css").read_text(encoding="utf-8"),
        js=(ASSETS / "page.js").read_text(encoding="utf-8"),
    )
    (out / "index.html").write_text(text, encoding="utf-8")


def _facts(name: str, runs: Sequence[Run], figures: dict[str, dict[str, list[Figure]]]) -> dict[str, Any]:
    return {
        "runs": [run.name for run in runs],
        "protocols": sorted({run.protocol for run in runs}),
        "figures": {kind: by_benchmark[name] for kind, by_benchmark in figures.items()},
        "entropy": all(_has_least(runs, term) for term in SOFT),
        "measured": sorted({step.panels["drift"]["pictures"] for run in runs for step in run.steps if _moved(step)}),
    }


def _has_least(runs: Iterable[Run], term: str) -> bool:
    """Whether it is known, wherever there is a soft term, what it is above its least value."""
    records = [record for run in runs for step in run.steps for record in step.training or () if term in record]
    return term in SOFT and all(f"{term}_kl" in record for record in records)


def _moved(step: gather.Step) -> dict[str, Any] | None:
    return step.panels["drift"] if step.panels else None


def _nothing(name: str) -> Figure:
    canvas = Figure(340, 60, name)
    canvas.text(10, 30, f"{name}: nothing to show yet", 12, fill="soft")
    return canvas


def _together(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs that differ in seed or order, by group."""
    groups = defaultdict(list)
    for run in runs:
        groups[run.group].append(run)
    return groups


def _mean(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation of what is there; None where there is nothing, or nothing to deviate from."""
    present = [value for value in values if value is not None]
    return (fmean(present) if present else None, stdev(present) if len(present) > 1 else None)


def _miou(runs: Sequence[Run]) -> list[Figure]:
    drawn = []
    for key, words in (("all", "all classes"), ("base", "classes of the base"), ("new", "classes of later steps")):
        series = []
        for members in _together(runs).values():
            numbers = range(len(members[0].sizes))
            per_step = [
                [
                    step.metrics[key]
                    for run in members
                    for step in run.steps
                    if step.metrics and _shown(run, step) == number
                ]
                for number in numbers
            ]
            both = [_mean(values) for values in per_step]
            method, names = members[0].method, [run.name for run in members]
            if any(mean is not None for mean, _ in both):
                series.append(Series(method, method, names, list(numbers), *map(list, zip(*both, strict=True))))
        drawn.append(charts.lines(f"mIoU of {words}", series, "step", "per cent"))
    return drawn


def _shown(run: Run, step: gather.Step) -> int:
    """Where a step stands among those of the scenario: `joint` has one, after which all classes are learned."""
    return len(run.sizes) - 1 if run.method.partition("[")[0] == "joint" else step.number


def _per_class(runs: Sequence[Run]) -> list[Figure]:
    drawn = []
    for members in _together(runs).values():
        learned = max((run.learned_at for run in members), key=len)
        if not learned:
            continue
        values = np.full((len(learned), len(members[0].sizes)), np.nan)
        for k, name in enumerate(learned):
            for number in range(values.shape[1]):
                mean, _ = _mean(
                    step.metrics["per_class"].get(name)
                    for run in members
                    for step in run.steps
                    if step.metrics and _shown(run, step) == number
                )
                values[k, number] = np.nan if mean is None else mean
        title = f"{members[0].method}: IoU per class{_of(members)}"
        drawn.append(
            charts.heat(title, members[0].method, [run.name for run in members], list(learned.items()), values)
        )
    return drawn


def _of(members: Sequence[Run]) -> str:
    return f", mean of {len(members)} runs" if len(members) > 1 else ""


def _lost(run: Run) -> dict[str, float]:
    """By class of the steps before the last: best IoU at any earlier step minus the last, in points."""
    if len(run.steps) < 2 or not all(step.metrics for step in run.steps):
        return {}
    *before, last = (step.metrics["per_class"] for step in run.steps)
    lost = {}
    for name in list(before[-1])[1:]:
        best = [step[name] for step in before if step.get(name) is not None]
        if best and last.get(name) is not None:
            lost[name] = max(best) - last[name]
    return lost


def _forgetting(runs: Sequence[Run]) -> list[Figure]:
    rows: dict[str, list[tuple[str, list[str], float]]] = {}
    for members in _together(runs).values():
        lost = [_lost(run) for run in members]
        for name in dict.fromkeys(name for each in lost for name in each):
            mean = fmean(each[name] for each in lost if name in each)
            rows.setdefault(name, []).append((members[0].method, [run.name for run in members], mean))
    return [charts.bars("forgetting: best IoU before, less the last", "points", list(rows.items()))] if rows else []


def _forgetting_rows(runs: Iterable[Run]) -> Iterable[tuple]:
    for run in runs:
        for name, value in _lost(run).items():
            yield run.name, name, run.learned_at[name], value


def _confusion(runs: Sequence[Run]) -> list[Figure]:
    drawn = []
    for members in _together(runs).values():
        last = [run.steps[-1] for run in members if run.steps[-1].counts is not None]
        # Runs with another order of classes have rows of another meaning.
        alike = [step for step in last if list(step.metrics["per_class"]) == list(last[0].metrics["per_class"])]
        if alike:
            counts = np.sum([step.counts for step in alike], axis=0)
            title = f"{members[0].method}, last step{_of(members[: len(alike)])}"
            method, runs_of = members[0].method, [run.name for run in members]
            names = list(last[0].metrics["per_class"])
            drawn.append(charts.confusion(title, method, runs_of, names, 1 + members[0].sizes[0], counts))
    return drawn


def _confusion_rows(runs: Iterable[Run]) -> Iterable[tuple]:
    for run in runs:
        last = run.steps[-1]
        if last.counts is None:
            continue
        names = list(last.metrics["per_class"])
        share = last.counts / np.maximum(1, last.counts.sum(1, keepdims=True))
        for row, column in np.argwhere(share >= SHARE):
            pixels = int(last.counts[row, column])
            yield run.name, last.number, names[row], names[column], pixels, round(float(share[row, column]), 6)


def _above_least(record: dict[str, float], term: str) -> float:
    return record.get(f"{term}_kl", record[term])


def _training_rows(runs: Iterable[Run]) -> Iterable[tuple]:
    for run in runs:
        for step in run.steps:
            for record in step.training or ():
                for term in TERMS.keys() & record.keys():
                    yield run.name, step.number, int(record["epoch"]), term, _above_least(record, term)


def _training(runs: Sequence[Run]) -> list[Figure]:
    drawn = []
    for term, words in TERMS.items():
        series, borders = [], set()
        for run in runs:
            done = 0
            for step in run.steps:
                records = step.training or []
                there = [record for record in records if math.isfinite(record.get(term, math.nan))]
                if there:
                    x, y = (
                        [done + record["epoch"] for record in there],
                        [_above_least(record, term) for record in there],
                    )
                    series.append(Series(run.name, run.method, [run.name], x, y))
                done += len(records)
                borders.add(done + 0.5)
        if series:
            soft = ", above its least value" if _has_least(runs, term) else ""
            drawn.append(
                charts.lines(f"{words}{soft}", series, "epoch, all steps", "loss", sorted(borders)[:-1], dots=False)
            )
    return drawn


def _drift(runs: Sequence[Run]) -> list[Figure]:
    drawn = []
    for number in range(1, max(len(run.sizes) for run in runs)):
        for key, words in MOVED.items():
            rows: dict[str, list[tuple[str, list[str], float]]] = {}
            for members in _together(runs).values():
                moved = [
                    _moved(step) for run in members for step in run.steps if step.number == number and _moved(step)
                ]
                for name in dict.fromkeys(name for each in moved for name in each["classes"]):
                    mean = fmean(each["classes"][name][key] for each in moved if name in each["classes"])
                    rows.setdefault(name, []).append((members[0].method, [run.name for run in members], mean))
            if rows:
                drawn.append(charts.bars(f"step {number}: mean |change| of {words}", "", list(rows.items())))
    return drawn


def _drift_rows(runs: Iterable[Run]) -> Iterable[tuple]:
    for run in runs:
        for step in run.steps:
            for name, values in (_moved(step) or {"classes": {}})["classes"].items():
                yield run.name, step.number, name, _moved(step)["pictures"], *(values[key] for key in MOVED)


FIGURES = {
    "miou": _miou,
    "classes": _per_class,
    "forgetting": _forgetting,
    "confusion": _confusion,
    "training": _training,
    "drift": _drift,
}

COST = ("run", "step", "work", "device", "seconds", "images", "images_per_second", "peak_memory_gib")


def _cost(runs: Iterable[Run]) -> list[dict[str, Any]]:
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
                )
                rows.append({**dict(zip(COST, values, strict=True)), "method": run.method, "key": record["key"]})
    return rows


def _groups(found: Found) -> list[dict[str, Any]]:
    """Rows of the headline table."""
    by_group = _together(found.runs)
    return [
        {"name": name, "method": by_group[name][0].method, "values": values, "runs": values["runs"]}
        for name, values in (found.groups or {}).items()
        if name in by_group
    ]


def _panels(benchmarks: Mapping[str, Sequence[Run]]) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Fixed test pictures of every benchmark: the picture, its truth, and what each run saw after each step.

    And how many pictures were left out, so that the page stays small. Of runs that differ in their seed, the first.
    """
    used, left_out, shown = 0, 0, {}
    for benchmark, runs in benchmarks.items():
        firsts = [members[0] for members in _together(runs).values()]
        source = next((step.panels for run in firsts for step in run.steps if step.panels), None)
        pictures = []
        for k, about in enumerate(source["pictures"] if source else ()):
            rows = []
            for run in firsts:
                tiles = [
                    (_shown(run, step), _data(step.panels["folder"] / f"{k}-found.png"))
                    for step in run.steps
                    if step.panels
                    and k < len(step.panels["pictures"])
                    and step.panels["pictures"][k]["id"] == about["id"]
                ]
                rows.append({"run": run.name, "method": run.method, "tiles": tiles})
            names = [source["classes"][label] for label in about["labels"]]
            entry = {
                "id": about["id"],
                "classes": names,
                "width": about["width"],
                "image": _data(source["folder"] / f"{k}.jpg"),
                "truth": _data(source["folder"] / f"{k}-truth.png"),
                "rows": rows,
            }
            size = len(json.dumps(entry))
            if used + size > PANEL_BYTES:
                left_out += 1
                continue
            used += size
            pictures.append(entry)
        legend = [] if source is None else list(zip(source["classes"], source["colours"], strict=True))
        known = set(benchmarks[benchmark][0].learned_at)
        shown[benchmark] = {"pictures": pictures, "legend": [each for each in legend if each[0] in known]}
    return shown, left_out


def _data(path: Path) -> str:
    kind = "jpeg" if path.suffix == ".jpg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _records(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Each node once, with the runs and steps that it is part of."""
    nodes: dict[str, dict[str, Any]] = {}
    for run in runs:
        for step in run.steps:
            for work, record in step.records.items():
                node = nodes.setdefault(record["key"], {"work": work, "record": record, "of": [], "runs": []})
                node["of"].append(f"{run.name} step {step.number}")
                node["runs"].append(run.name)
                shown = {name: record.get(name) for name in ("params", "inputs", "runtime", "cost", "platform")}
                node["text"] = json.dumps(shown, indent=1)
    return list(nodes.values())


def _origin(runs: Iterable[Run]) -> dict[str, Any]:
    """What all results share, as sets: commits, versions, devices, and when the last was made."""
    records = [record for run in runs for step in run.steps for record in step.records.values()]
    versions = defaultdict(set)
    for record in records:
        for name, version in (record.get("versions") or {}).items():
            if version:
                versions[name].add(version)
    git = [record.get("git") or {} for record in records]
    return {
        "commits": sorted({f"{each.get('commit')}{' with changes' if each.get('dirty') else ''}" for each in git}),
        "versions": {name: ", ".join(sorted(found)) for name, found in versions.items()},
        "finished": max((record.get("finished", "") for record in records), default=""),
        "seconds": sum({record["key"]: record.get("seconds", 0) for record in records}.values()),
    }


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
