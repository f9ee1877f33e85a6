"""Lists the images of every step of a scenario."""

from pathlib import Path

from dkd.data import index, tasks


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> None:
    """tasks.json; inputs: index."""
    table = index.read(inputs["index"] / "index.csv")
    content = tasks.split(table, **{"seed": None, **params})
    tasks.write(content, out / "tasks.json")
