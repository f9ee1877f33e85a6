"""Trains step 0, the same for every method (and `joint`, which is step 0 on all classes)."""

from pathlib import Path

from dkd import train
from dkd.methods import joint


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Checkpoint and train.csv; inputs: data, index, tasks, weights where the backbone starts from a file."""
    weights = {"pretrained": str(inputs["weights"])} if "weights" in inputs else {}
    return train.fit(
        method=joint,
        data=inputs["data"],
        index=inputs["index"] / "index.csv",
        tasks=inputs["tasks"] / "tasks.json",
        step=0,
        out=out,
        seed=params["seed"],
        recipe=train.Recipe(**params["recipe"]),
        weights={},
        model={**params["model"], **weights},
        device=runtime["device"],
        threads=runtime["threads"],
        workers=runtime["workers"],
        micro=runtime["micro_batch"],
        cache=runtime["image_cache"],
        state=Path(runtime["work"]),
        save_minutes=runtime["save_minutes"],
        board=Path(runtime["board"]) if runtime["tensorboard"] else None,
    )
