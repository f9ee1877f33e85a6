"""One module per rule: takes a node's params, the runtime section and the paths of its inputs to a call of `dkd`."""

from pathlib import Path
from typing import Any


def tables(inputs: dict[str, Path]) -> dict[str, Path]:
    """Fields of `dkd.data.tasks.Inputs`."""
    return {"data": inputs["data"], "index": inputs["index"] / "index.csv", "tasks": inputs["tasks"] / "tasks.json"}


def machine(runtime: dict[str, Any]) -> dict[str, Any]:
    """Fields of `dkd.devices.Runtime`."""
    names = ("device", "threads", "workers", "micro_batch", "evaluate_batch", "image_cache", "save_minutes", "name")
    paths = {name: Path(runtime[name]) for name in ("work", "logs")}
    return {**{name: runtime[name] for name in names}, **paths, "trackers": tuple(runtime["trackers"])}
