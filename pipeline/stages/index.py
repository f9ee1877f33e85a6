"""Lists which classes each image of a data set shows."""

from pathlib import Path

from dkd.data import catalog, index


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """index.csv and index.json; inputs: data."""
    root, format = inputs["data"], params["format"]
    names, files = catalog.class_names(format, root), catalog.list_files(format, root)
    table = index.build(root, params["dataset"], names, files, catalog.STORED[format])
    # The root of the data set is left out: the index has to be the same on every machine.
    index.write(table, ".", out / "index.csv")
    return {"images": len(table.rows)}
