"""One module per rule: takes a node's params, the runtime section and the paths of its inputs to a call of `dkd`."""

from pathlib import Path
from typing import Any


def pictures(inputs: dict[str, Path]) -> dict[str, Path]:
    """Where the pictures of a step are: data, index and tasks."""
    tables = {"index": inputs["index"] / "index.csv", "tasks": inputs["tasks"] / "tasks.json"}
    return {"data": inputs["data"], **tables}


def training(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict[str, Any]:
    """What every training is told, besides its step, method and network."""
    work = {"state": Path(runtime["work"]), "save_minutes": runtime["save_minutes"]}
    work["board"] = Path(runtime["board"]) if runtime["tensorboard"] else None
    names = {"device": "device", "threads": "threads", "workers": "workers", "micro": "micro_batch"}
    machine = {name: runtime[key] for name, key in {**names, "cache": "image_cache"}.items()}
    return {**pictures(inputs), **machine, **work, "seed": params["seed"], "out": out}
