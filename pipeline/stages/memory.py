"""Chooses the images of earlier steps that a step replays."""

from pathlib import Path

from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.training import exemplars
from pipeline.stages import machine, tables


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """memory.json and masks/; inputs: data, index, tasks, checkpoint, after the first time also memory."""
    selection = exemplars.Selection(params["size"], params["confidence"], params["seed"])
    given = Inputs(**tables(inputs)), Runtime(**machine(runtime))
    return exemplars.build(inputs["checkpoint"], params["step"], selection, inputs.get("memory"), *given, out)
