"""One page of all results that needs no other file, and its figures as files.

Knows what `gather` found. Writes index.html; each of `figures.FIGURES` as .png and .pdf; and the .csv of `numbers`.
"""

import base64
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from dkd.report import comparison, numbers
from dkd.report.figures import FIGURES
from dkd.report.gather import Found, Run, by_group, gather
from dkd.report.sheet import Chart, Style, sheet, styles
from dkd.use import figure

ASSETS = Path(__file__).with_name("assets")
SAMPLE_BYTES, EVIDENCE_BYTES = 6_000_000, 3_000_000
"""Most that sample predictions, and the evidence for them, take of the page, encoded."""


def write(
    runs: list[dict[str, Any]], inputs: Mapping[str, Path], decimals: int, failed: Mapping[str, str], out: Path
) -> None:
    """Write the page of `runs` and its figures into `out`; `gather` says what `inputs` and `failed` may hold."""
    found = gather(runs, inputs, failed)
    looks = styles(run.method for run in found.runs)
    benchmarks = defaultdict(list)
    for run in found.runs:
        benchmarks[run.benchmark].append(run)
    drawn = {kind: {name: draw(of, looks) for name, of in benchmarks.items()} for kind, draw in FIGURES.items()}
    for kind, by_benchmark in drawn.items():
        _save(by_benchmark, looks, out / kind)
    numbers.write(found.runs, out)
    samples, left_out = _samples(benchmarks)
    for what, number in left_out.items():
        found.missing.append(f"{what} left out to keep this page small: {number} (they are in panels/)")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = lambda value, places=decimals: "-" if value is None else f"{value:.{places}f}"
    environment.filters["log_of"] = _log_of
    environment.filters["signed"] = lambda value, places=decimals: f"{value:+.{places}f}"
    text = environment.get_template("page.html").render(
        found=found,
        benchmarks={name: _facts(name, of, drawn) for name, of in benchmarks.items()},
        groups=_groups(found),
        runs=comparison.states(found),
        headline=comparison.METRICS,
        compared=comparison.COMPARED,
        differences=comparison.against(found.differences),
        looks=looks,
        classes=list(dict.fromkeys(name for run in found.runs for name in run.learned_at)),
        samples=samples,
        cost=numbers.cost(found.runs),
        records=_records(found.runs),
        origin=_origin(found.runs),
        css=(ASSETS / "page.css").read_text(encoding="utf-8"),
        js=(ASSETS / "page.js").read_text(encoding="utf-8"),
    )
    (out / "index.html").write_text(text, encoding="utf-8")


def _save(by_benchmark: dict[str, list[Chart]], looks: dict[str, Style], stem: Path) -> None:
    """Write all charts of a figure; where there are several benchmarks, titles name them."""
    several = len(by_benchmark) > 1
    all_charts = [
        chart._replace(title=f"{name}. {chart.title}") if several else chart
        for name, drawn in by_benchmark.items()
        for chart in drawn
    ]
    with figure.style(stem.name):
        whole, pixels = sheet(all_charts, looks), io.BytesIO()
        figure.save(whole, stem.with_suffix(".pdf"), "pdf")
        figure.save(whole, pixels, "png")
    # A palette makes the file, which git keeps, three times as small.
    with Image.open(pixels) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        small.save(stem.with_suffix(".png"), optimize=True, dpi=image.info["dpi"])


def _facts(name: str, runs: Sequence[Run], drawn: dict[str, dict[str, list[Chart]]]) -> dict[str, Any]:
    """What the page shows of a benchmark."""
    return {
        "runs": [run.name for run in runs],
        "methods": list(dict.fromkeys(run.method for run in runs)),
        "differing": comparison.differing(runs),
        "figures": {
            kind: [
                {"svg": chart.svg(f"{kind} {name} {k}"), "width": round(96 * chart.width), "data": chart.data}
                for k, chart in enumerate(by_benchmark[name])
            ]
            for kind, by_benchmark in drawn.items()
        },
        "entropy": all(numbers.has_entropy(runs, term) for term in numbers.SOFT),
        "measured": sorted({step.drift["pictures"] for run in runs for step in run.steps if step.drift}),
    }


def _groups(found: Found) -> list[dict[str, Any]]:
    """Rows of the headline table."""
    members, by_benchmark = by_group(found.runs), defaultdict(list)
    for name, values in (found.groups or {}).items():
        if name in members:
            first = members[name][0]
            row = {"name": name, "method": first.method, "values": values, "runs": values["runs"]}
            by_benchmark[first.benchmark].append(row)
    tops = set().union(*map(comparison.best, by_benchmark.values()))
    return [
        {**row, "best": {metric for name, metric in tops if name == row["name"]}}
        for rows in by_benchmark.values()
        for row in rows
    ]


def _log_of(reason: str) -> tuple[str, str | None]:
    """Why something failed, and the log that the reason names."""
    parts = re.fullmatch(r"(.*), log: (logs/.*\.log)\)", reason, re.DOTALL)
    return (f"{parts[1]})", parts[2]) if parts else (reason, None)


def _samples(benchmarks: Mapping[str, Sequence[Run]]) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """The sample images of each benchmark with their truth and the predictions of a run of each group, the first.

    And how many images, and evidence of how many, were left out to keep the page small.
    """
    used, left_out, shown = [0, 0], defaultdict(int), {}
    for benchmark, runs in benchmarks.items():
        firsts = [members[0] for members in by_group(runs).values()]
        source = next((step.samples for run in firsts for step in run.steps if step.samples), None)
        images = []
        for k in range(len(source["pictures"]) if source else 0):
            entry = _sample(source, k, firsts)
            tiles = [tile for row in entry["rows"] for tile in row["tiles"]]
            evidence = len(json.dumps([tile["evidence"] for tile in tiles]))
            size = len(json.dumps(entry)) - evidence
            if used[0] + size > SAMPLE_BYTES:
                left_out["sample images"] += 1
                continue
            used[0] += size
            if used[1] + evidence > EVIDENCE_BYTES:
                left_out["evidence of sample images"] += 1
                for tile in tiles:
                    tile["evidence"] = None
            else:
                used[1] += evidence
            images.append(entry)
        legend = [] if source is None else list(zip(source["classes"], source["colours"], strict=True))
        known = set(runs[0].learned_at)
        shown[benchmark] = {"images": images, "legend": [each for each in legend if each[0] in known]}
    return shown, left_out


def _sample(source: dict[str, Any], k: int, runs: Sequence[Run]) -> dict[str, Any]:
    """Image k of a panels.json, and what each run predicts for it after each step."""
    about, rows = source["pictures"][k], []
    for run in runs:
        there = [step for step in run.steps if step.samples and k < len(step.samples["pictures"])]
        tiles = [
            {
                "step": run.place(step),
                "found": _data(step.samples["folder"] / f"{k}-found.png"),
                "evidence": _evidence(step.samples, k),
            }
            for step in there
            if step.samples["pictures"][k]["id"] == about["id"]
        ]
        rows.append({"run": run.name, "method": run.method, "tiles": tiles})
    return {
        "id": about["id"],
        "classes": [source["classes"][label] for label in about["labels"]],
        "width": about["width"],
        "image": _data(source["folder"] / f"{k}.jpg"),
        "truth": _data(source["folder"] / f"{k}-truth.png"),
        "rows": rows,
    }


def _evidence(samples: dict[str, Any], k: int) -> dict[str, str] | None:
    """What the page draws of the evidence for image k; None for sample predictions of an earlier version."""
    if "evidence" not in samples:
        return None
    facts = samples["pictures"][k]["evidence"]
    names = [samples["classes"][label] for label in facts["labels"]]
    facts = {**facts, "names": names, "words": samples["evidence"]}
    return {"facts": json.dumps(facts, ensure_ascii=False), "maps": _data(samples["folder"] / f"{k}-evidence.png")}


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
                names = ("params", "inputs", "runtime", "cost", "machine", "platform")
                shown = {name: record.get(name) for name in names}
                node["text"] = json.dumps(shown, indent=1)
    return list(nodes.values())


def _origin(runs: Iterable[Run]) -> dict[str, Any]:
    """Commits and versions behind the results, when the last one was finished, and seconds of work in all."""
    records = [record for run in runs for step in run.steps for record in step.records.values()]
    versions = defaultdict(set)
    for record in records:
        for name, version in (record.get("versions") or {}).items():
            if version:
                versions[name].add(version)
    git = [record.get("git") or {} for record in records]
    return {
        "commits": sorted(
            {f"{each.get('commit')}{' with uncommitted changes' if each.get('dirty') else ''}" for each in git}
        ),
        "versions": {name: ", ".join(sorted(found)) for name, found in versions.items()},
        "finished": max((record.get("finished", "") for record in records), default=""),
        "seconds": sum({record["key"]: record.get("seconds", 0) for record in records}.values()),
    }
