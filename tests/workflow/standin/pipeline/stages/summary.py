import csv
import json

from dkd.trace import trace


def run(params, runtime, inputs, out):
    trace(out)
    values = {name: json.loads((path / "metrics.json").read_text())["value"] for name, path in inputs.items()}
    last = {run["name"]: values[f"{run['name']}/{run['steps'][-1]}"] for run in params["runs"]}
    (out / "summary.json").write_text(json.dumps({run: {"all": value} for run, value in last.items()}))
    (out / "groups.json").write_text(json.dumps({"group": {"runs": len(last), "decimals": params["decimals"]}}))
    rows = [("run", "protocol", "step", "all", "class", "iou")]
    for name, value in values.items():
        run, step = name.split("/")
        rows.append((run, "paper", step, value, "disc", value))
    for name in ("steps.csv", "classes.csv", "groups.csv", "differences.csv"):
        with (out / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    (out / "table.txt").write_text("".join(f"{run} {value}\n" for run, value in last.items()))
