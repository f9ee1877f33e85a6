"""Draws the embedded data set."""

from pathlib import Path

from dkd.data import shapes


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> None:
    """Folder data set in `out`."""
    shapes.draw(out, **params)
