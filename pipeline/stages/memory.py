"""Chooses the pictures of earlier steps that a step replays."""

from pathlib import Path

from dkd import memory


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """memory.json and masks/; inputs: data, index, tasks, checkpoint, after the first time also memory."""
    return memory.build(
        data=inputs["data"],
        index=inputs["index"] / "index.csv",
        tasks=inputs["tasks"] / "tasks.json",
        folder=inputs["checkpoint"],
        before=inputs.get("memory"),
        out=out,
        device=runtime["device"],
        threads=runtime["threads"],
        **params,
    )
