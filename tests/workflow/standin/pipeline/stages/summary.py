import csv
import json

from dkd.trace import trace

COLUMNS = ("all", "base", "new", "harmonic", "forgetting")


def run(params, runtime, inputs, out):
    trace(out)
    values = {name: json.loads((path / "metrics.json").read_text())["value"] for name, path in inputs.items()}
    last = {run["name"]: values[f"{run['name']}/{run['steps'][-1]}"] / 100 for run in params["runs"]}
    tables = {
        "summary": {run: dict.fromkeys(COLUMNS, value) for run, value in last.items()},
        "groups": {"group": {"runs": list(last)}},
        "headline": {
            "group": {**dict.fromkeys(COLUMNS, sum(last.values()) / len(last)), "decimals": params["decimals"]}
        },
    }
    for name, content in tables.items():
        (out / f"{name}.json").write_text(json.dumps(content))
    rows = [("run", "protocol", "step", "mean", "class", "iou")]
    for name, value in values.items():
        run, step = name.split("/")
        rows.append((run, "paper", step, value, "disc", value))
    for name in ("steps.csv", "classes.csv", "groups.csv", "differences.csv"):
        with (out / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    (out / "table.txt").write_text("".join(f"{run} {value}\n" for run, value in last.items()))
