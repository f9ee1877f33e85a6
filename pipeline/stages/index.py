"""Makes the class-presence table of a data set."""

from pathlib import Path

from dkd.datasets import index


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """index.csv and index.json; inputs: data."""
    table = index.build(inputs["data"], dataset=params["dataset"], format=params["format"])
    index.write(table, inputs["data"], out / "index.csv")
    return {"images": len(table.rows)}
