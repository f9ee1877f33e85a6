"""Makes the tables over all runs."""

from pathlib import Path

from dkd.report import tables


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> None:
    """All tables (`dkd.report.tables`); inputs: "<run>/<step>", an evaluation each."""
    found = {
        each["name"]: [inputs[f"{each['name']}/{step}"] / "metrics.json" for step in each["steps"]]
        for each in params["runs"]
    }
    tables.write(params["runs"], found, params["decimals"], out)
