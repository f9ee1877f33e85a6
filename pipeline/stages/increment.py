"""Trains a later step with the method of its run."""

from importlib import import_module
from pathlib import Path

from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.methods import RATES, module_name, sort_options
from dkd.training.loop import train
from dkd.training.recipe import build
from pipeline.stages import machine, tables


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Checkpoint, train.csv and loss.csv; inputs: data, index, tasks, previous, for replay also memory."""
    others = {name: params[name] for name in ("start", "replay", "train_norms", *RATES) if name in params}
    recipe = build(params["recipe"], params["seed"], sort_options({**params["weights"], **others}))
    given = Inputs(**tables(inputs)), Runtime(**machine(runtime))
    sources = {"network": inputs["previous"], "memory": inputs.get("memory")}
    return train(import_module(module_name(params["method"])), params["step"], recipe, *given, **sources, out=out)
