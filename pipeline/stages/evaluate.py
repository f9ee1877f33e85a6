"""Evaluates a checkpoint on the test images of its step."""

from pathlib import Path

from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.evaluation import Scoring, evaluate
from pipeline.stages import machine, tables


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """metrics.json and confusion.npz; inputs: data, index, tasks, checkpoint."""
    scoring = Scoring(**{name: params[name] for name in Scoring._fields})
    given = Inputs(**tables(inputs)), Runtime(**machine(runtime))
    return evaluate(inputs["checkpoint"], params["step"], scoring, *given, out)
