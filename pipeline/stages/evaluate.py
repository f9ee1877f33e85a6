"""Judges a checkpoint on the test pictures of its step."""

from pathlib import Path

from dkd import evaluate
from pipeline.stages import pictures


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """metrics.json and confusion.npz; inputs: data, index, tasks, checkpoint."""
    machine = {name: runtime[name] for name in ("device", "threads", "workers")}
    given = {**pictures(inputs), **params, **machine, "batch": runtime["evaluate_batch"]}
    return evaluate.evaluate(folder=inputs["checkpoint"], out=out, **given)
