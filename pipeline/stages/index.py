"""Makes the class-presence table of a data set."""

from pathlib import Path

from dkd.datasets import catalog, index


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """index.csv and index.json; inputs: data."""
    root, format = inputs["data"], params["format"]
    table = index.build(root, params["dataset"], catalog.class_names(format, root), catalog.places(format, root))
    index.write(table, root, out / "index.csv")
    return {"images": len(table.rows)}
