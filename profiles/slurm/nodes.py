"""Runs the processes of one training on several nodes of a Slurm job, which find each other by torchrun's rendezvous.

Started by a job (`pipeline.launch.over_nodes`), which writes the task to stdin and reads the answer from stdout, both
JSON. With the name of a file that holds the task, it is one of the processes.
"""

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from dkd.errors import InputError, one_line  # noqa: E402
from pipeline import launch  # noqa: E402


def start(task: dict) -> dict:
    """Have all processes started; the answer of the first, or of one that failed."""
    place = Path(task["runtime"]["work"], "processes").absolute()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "task").write_text(json.dumps(task), encoding="utf-8")
    nodes, job = task["nodes"], os.environ["SLURM_JOB_ID"]
    with socket.socket() as free:
        free.bind(("", 0))
        meeting = f"{socket.gethostname()}:{free.getsockname()[1]}"
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--overlap", "--kill-on-bad-exit=1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", "--rdzv-backend=c10d"]
    torchrun += [f"--nproc-per-node={task['number'] // nodes}", f"--rdzv-endpoint={meeting}", f"--rdzv-id={job}"]
    # Nothing but the answer goes to stdout.
    code = subprocess.call([*srun, *torchrun, __file__, place / "task"], stdout=sys.stderr)
    answers = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in place.glob("*.json")}
    failed = [answer for answer in answers.values() if "error" in answer]
    return failed[0] if failed else answers.get("0") or {"error": f"srun ended with status {code}; start again"}


def work(file: Path) -> int:
    """Be one of the processes: do the work, and leave the answer beside the task."""
    task, rank = json.loads(file.read_text(encoding="utf-8")), int(os.environ["RANK"])
    launch.begin(task["label"], Path(task["log"]), quiet=rank > 0)
    inputs = {name: Path(path) for name, path in task["inputs"].items()}
    try:
        stage = importlib.import_module(f"pipeline.stages.{task['rule']}")
        answer = {"cost": stage.run(task["params"], task["runtime"], inputs, Path(task["out"]))}
    except (InputError, OSError) as error:
        answer = {"error": one_line(error, None).removeprefix("dkd: ")}
    except Exception:
        answer = {"error": traceback.format_exc()}
    (file.with_name(f"{rank}.json")).write_text(json.dumps(answer), encoding="utf-8")
    return int("error" in answer)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(work(Path(sys.argv[1])))
    print(json.dumps(start(json.load(sys.stdin))))
