"""Trains a later step with the method of its run."""

from importlib import import_module
from pathlib import Path

from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.methods import module_name
from dkd.training.loop import train
from dkd.training.recipe import Recipe
from pipeline.stages import machine, tables


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Checkpoint and train.csv; inputs: data, index, tasks, previous, for replay also memory."""
    options = {"loss_options": params["weights"], "head_init": params["start"], "replay": params.get("replay")}
    options |= {"rates": params.get("rates", {}), "train_norms": params.get("train_norms", False)}
    recipe = Recipe(**params["recipe"], seed=params["seed"], **options)
    given = Inputs(**tables(inputs)), Runtime(**machine(runtime))
    sources = {"network": inputs["previous"], "memory": inputs.get("memory")}
    return train(import_module(module_name(params["method"])), params["step"], recipe, *given, **sources, out=out)
