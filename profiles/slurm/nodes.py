"""Runs the processes of one training on several nodes of a Slurm job, which find each other by torchrun's rendezvous.

A job (pipeline/job.py) calls `run` where the profile asks for nodes. With the name of a file that holds the task, this
is one of the processes.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from dkd.errors import InputError, one_line  # noqa: E402
from pipeline import launch  # noqa: E402


def asked(runtime: dict[str, Any], nodes: int) -> dict[str, int]:
    """What a job on so many nodes asks for. InputError where its processes can't be shared out."""
    number = runtime["processes"]
    if nodes < 1 or number == 1 or number % nodes:
        raise InputError(f"--config nodes={nodes}: runtime.processes, {number}, is not a multiple of it")
    return {"nodes": nodes, "tasks": nodes, "cpus_per_task": runtime["threads"] * number // nodes}


def run(rule: str, label: str, log: Path, arguments: tuple, number: int, nodes: int) -> Any:
    """What a stage returns in the first of `number` processes on `nodes` nodes. InputError where one fails."""
    task = dict(zip(("params", "runtime", "inputs", "out"), arguments, strict=True))
    place = Path(task["runtime"]["work"], "processes").absolute()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    text = json.dumps({**task, "rule": rule, "label": label, "log": log}, default=str)
    (place / "task").write_text(text, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("", 0))
        meeting = f"{socket.gethostname()}:{free.getsockname()[1]}"
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--overlap", "--kill-on-bad-exit=1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", "--rdzv-backend=c10d"]
    torchrun += [f"--nproc-per-node={number // nodes}", f"--rdzv-endpoint={meeting}"]
    torchrun += [f"--rdzv-id={os.environ['SLURM_JOB_ID']}"]
    code = subprocess.call([*srun, *torchrun, __file__, place / "task"])
    answers = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in place.glob("*.json")}
    for answer in answers.values():
        if "error" in answer:
            raise InputError(answer["error"])
    if "0" not in answers:
        raise InputError(f"the {number} processes on {nodes} nodes ended with status {code}; start again")
    return answers["0"]["cost"]


def work(file: Path) -> int:
    """Be one of the processes: do the work, and leave the answer beside the task."""
    task, rank = json.loads(file.read_text(encoding="utf-8")), int(os.environ["RANK"])
    launch.begin(task["label"], Path(task["log"]), quiet=rank > 0)
    inputs = {name: Path(path) for name, path in task["inputs"].items()}
    try:
        stage = launch.stage(task["rule"])
        answer = {"cost": stage.run(task["params"], task["runtime"], inputs, Path(task["out"]))}
    except (InputError, OSError) as error:
        answer = {"error": one_line(error, None).removeprefix("dkd: ")}
    except Exception:
        answer = {"error": traceback.format_exc()}
    file.with_name(f"{rank}.json").write_text(json.dumps(answer), encoding="utf-8")
    return int("error" in answer)


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1])))
