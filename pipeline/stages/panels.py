"""Shows what a checkpoint makes of fixed test pictures, and how far its reasoning moved."""

from pathlib import Path

from dkd import panels


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """panels.json, sheet.png and pictures; inputs: data, index, tasks, checkpoint and, but for a base, previous."""
    return panels.write(
        data=inputs["data"],
        index=inputs["index"] / "index.csv",
        tasks=inputs["tasks"] / "tasks.json",
        folder=inputs["checkpoint"],
        previous=inputs.get("previous"),
        step=params["step"],
        out=out,
        device=runtime["device"],
        threads=runtime["threads"],
    )
