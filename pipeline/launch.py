"""Runs a stage in several processes that share one piece of work.

    python -m pipeline.launch FOLDER

Knows how processes find each other, end together, and tell in one line why; nothing of tensors. `torchrun` would start
them as well, but killed, it leaves its processes at work; here each ends when its standard input does.
"""

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from dkd.errors import InputError, one_line
from pipeline import ROOT
from pipeline import log as logs

REQUEST, ANSWER = "request.json", "answer.json"
GRACE = 30.0
"""Seconds in which processes that are asked to stop may save what they have."""


def run(request: dict[str, Any], number: int, place: Path) -> Any:
    """What the stage of `request` (see `main`) returns in the first of `number` processes; they talk in folder `place`.

    Raises InputError where one fails or dies; the others end with it.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    text = json.dumps({**request, "directory": Path.cwd()}, default=str)
    (place / REQUEST).write_text(text, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1], "TORCH_CPP_LOG_LEVEL": "ERROR"}
    shared |= {"WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number}
    ranks: list[subprocess.Popen] = []
    try:
        for rank in range(number):
            own = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
            command = [sys.executable, "-m", "pipeline.launch", str(place.resolve())]
            ranks.append(subprocess.Popen(command, env={**os.environ, **own}, stdin=subprocess.PIPE, cwd=ROOT))
        while None in (codes := [rank.poll() for rank in ranks]) and not any(codes):
            time.sleep(0.1)
    except KeyboardInterrupt:
        for rank in ranks:
            rank.terminate()
        end = time.monotonic() + GRACE
        while any(rank.poll() is None for rank in ranks) and time.monotonic() < end:
            time.sleep(0.1)
        raise
    finally:
        failed = {number: rank.returncode for number, rank in enumerate(ranks) if rank.returncode}
        for rank in ranks:
            rank.kill()
            rank.wait()
            rank.stdin.close()
    if failed:
        raise _error(failed, number, place)
    return json.loads((place / ANSWER).read_text(encoding="utf-8"))


def _error(failed: dict[int, int], number: int, place: Path) -> Exception:
    """Why the work failed, from the exit status of those that ended: one was killed, or one was first to fail."""
    for rank, code in failed.items():
        if code < 0:
            name, hint = signal.Signals(-code).name, "often for want of memory; " if code == -signal.SIGKILL else ""
            return InputError(
                f"process {rank} of {number} was killed ({name}); {hint}the others were ended; start again"
            )
    faulty = [path for rank in failed if (path := place / f"fault-{rank}").exists()]
    if not faulty:
        return InputError(f"of {number} processes, {failed} ended with a status other than 0; start again")
    words = min(faulty, key=lambda path: path.stat().st_mtime_ns).read_text(encoding="utf-8")
    # More than one line is a traceback.
    return RuntimeError(words) if "\n" in words else InputError(words)


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def main() -> int:
    """One of the processes: do the work of the request; leave the answer, or the fault, beside it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    place, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    request = json.loads((place / REQUEST).read_text(encoding="utf-8"))
    os.chdir(request["directory"])
    logs.begin(request["label"], Path(request["log"]), quiet=rank > 0)
    inputs = {name: Path(path) for name, path in request["inputs"].items()}
    try:
        stage = importlib.import_module(f"pipeline.stages.{request['rule']}")
        answer = stage.run(request["params"], request["runtime"], inputs, Path(request["out"]))
        (place / (ANSWER if rank == 0 else f"answer-{rank}")).write_text(json.dumps(answer), encoding="utf-8")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException as error:
        known = isinstance(error, InputError | OSError)
        words = one_line(error, None).removeprefix("dkd: ") if known else traceback.format_exc()
        (place / f"fault-{rank}").write_text(words, encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    # At once: what libraries do at the end of a process can wait for others that are gone.
    os._exit(main())
