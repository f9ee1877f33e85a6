"""Shows what a checkpoint predicts for fixed test images, and how its terms changed since the step before."""

from pathlib import Path

from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.use import samples
from pipeline.stages import machine, tables


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """panels.json, sheet.png and images; inputs: data, index, tasks, checkpoint and, but for a base, previous."""
    given = Inputs(**tables(inputs)), Runtime(**machine(runtime))
    return samples.write(inputs["checkpoint"], inputs.get("previous"), params["step"], *given, out)
