"""Trains step 0, which methods with the same kind of classifiers share (`joint` is step 0 on all classes)."""

from importlib import import_module
from pathlib import Path

from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.methods import BASES, module_name, sort_options
from dkd.training.loop import train
from dkd.training.recipe import build
from pipeline.stages import machine, tables


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Checkpoint, train.csv and loss.csv; inputs: data, index, tasks, weights where the backbone starts from a file."""
    network = dict(params["model"])
    if "weights" in inputs:
        network["pretrained"] = str(inputs["weights"])
    recipe = build(params["recipe"], params["seed"], sort_options({}))
    method = import_module(module_name(BASES[params.get("head", "sigmoid")]))
    given = Inputs(**tables(inputs)), Runtime(**machine(runtime))
    return train(method, 0, recipe, *given, network=network, memory=None, out=out)
