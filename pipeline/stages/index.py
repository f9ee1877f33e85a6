"""Makes the class-presence table of a data set."""

from pathlib import Path

from dkd.data import catalog, index


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """index.csv and index.json; inputs: data."""
    root, format = inputs["data"], params["format"]
    names, places = catalog.class_names(format, root), catalog.places(format, root)
    table = index.build(root, params["dataset"], names, places, catalog.STORED.get(format))
    # Where the data set lies is this machine's affair; written here, the index would not be the same everywhere.
    index.write(table, ".", out / "index.csv")
    return {"images": len(table.rows)}
