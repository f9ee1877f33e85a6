"""Shows what a checkpoint makes of fixed test pictures, and how far its reasoning moved."""

from pathlib import Path

from dkd.use import samples as panels
from pipeline.stages import pictures


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """panels.json, sheet.png and pictures; inputs: data, index, tasks, checkpoint and, but for a base, previous."""
    machine = {name: runtime[name] for name in ("device", "threads")}
    given = {**pictures(inputs), **params, **machine}
    return panels.write(folder=inputs["checkpoint"], previous=inputs.get("previous"), out=out, **given)
