"""Trains step 0, the same for every method (and `joint`, which is step 0 on all classes)."""

from pathlib import Path

from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.methods import joint
from dkd.training.loop import train
from dkd.training.recipe import Recipe
from pipeline.stages import machine, tables


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Checkpoint and train.csv; inputs: data, index, tasks, weights where the backbone starts from a file."""
    network = dict(params["model"])
    if "weights" in inputs:
        network["pretrained"] = str(inputs["weights"])
    recipe = Recipe(**params["recipe"], seed=params["seed"], loss_options={}, head_init="random", replay=None)
    given = Inputs(**tables(inputs)), Runtime(**machine(runtime))
    return train(joint, 0, recipe, *given, network=network, memory=None, out=out)
