"""Chooses the pictures of earlier steps that a step replays."""

from pathlib import Path

from dkd.training import exemplars as memory
from pipeline.stages import pictures


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """memory.json and masks/; inputs: data, index, tasks, checkpoint, after the first time also memory."""
    machine = {name: runtime[name] for name in ("device", "threads")}
    given = {**pictures(inputs), **params, **machine}
    return memory.build(folder=inputs["checkpoint"], before=inputs.get("memory"), out=out, **given)
