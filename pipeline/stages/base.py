"""Trains step 0, the same for every method (and `joint`, which is step 0 on all classes)."""

from pathlib import Path

from dkd.methods import joint
from dkd.training import loop as train
from pipeline.stages import training


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Checkpoint and train.csv; inputs: data, index, tasks, weights where the backbone starts from a file."""
    weights = {"pretrained": str(inputs["weights"])} if "weights" in inputs else {}
    recipe, model = train.Recipe(**params["recipe"]), {**params["model"], **weights}
    common = training(params, runtime, inputs, out)
    return train.fit(method=joint, step=0, recipe=recipe, weights={}, model=model, **common)
