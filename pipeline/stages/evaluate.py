"""Judges a checkpoint on the test pictures of its step."""

from pathlib import Path

from dkd import evaluate


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """metrics.json and confusion.npz; inputs: data, index, tasks, checkpoint."""
    return evaluate.evaluate(
        data=inputs["data"],
        index=inputs["index"] / "index.csv",
        tasks=inputs["tasks"] / "tasks.json",
        folder=inputs["checkpoint"],
        step=params["step"],
        base=params["base"],
        crop=params["crop"],
        unseen=params["unseen"],
        count_background=params["count_background"],
        absent=params["absent"],
        out=out,
        device=runtime["device"],
        threads=runtime["threads"],
        workers=runtime["workers"],
        batch=runtime["evaluate_batch"],
    )
