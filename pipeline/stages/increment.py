"""Trains a later step with the method of its run."""

from importlib import import_module
from pathlib import Path

from dkd import train


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Checkpoint and train.csv; inputs: data, index, tasks, previous, for replay also memory."""
    return train.fit(
        method=import_module(f"dkd.methods.{params['method'].replace('-', '_')}"),
        data=inputs["data"],
        index=inputs["index"] / "index.csv",
        tasks=inputs["tasks"] / "tasks.json",
        step=params["step"],
        out=out,
        seed=params["seed"],
        recipe=train.Recipe(**params["recipe"]),
        start=params["start"],
        weights=params["weights"],
        previous=inputs["previous"],
        memory=inputs.get("memory"),
        replay=params.get("replay", "current"),
        device=runtime["device"],
        threads=runtime["threads"],
        workers=runtime["workers"],
        micro=runtime["micro_batch"],
        cache=runtime["image_cache"],
        state=Path(runtime["work"]),
        save_minutes=runtime["save_minutes"],
        board=Path(runtime["board"]) if runtime["tensorboard"] else None,
    )
