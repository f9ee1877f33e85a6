"""Trains a later step with the method of its run."""

from importlib import import_module
from pathlib import Path

from dkd.training import loop as train
from pipeline.stages import training


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Checkpoint and train.csv; inputs: data, index, tasks, previous, for replay also memory."""
    return train.fit(
        method=import_module(f"dkd.methods.{params['method'].replace('-', '_')}"),
        step=params["step"],
        recipe=train.Recipe(**params["recipe"]),
        start=params["start"],
        weights=params["weights"],
        previous=inputs["previous"],
        memory=inputs.get("memory"),
        replay=params.get("replay", "current"),
        **training(params, runtime, inputs, out),
    )
