"""Runs a stage in several processes that share one piece of work.

Knows how processes find each other, end together, and tell in one line why; nothing of tensors. `torchrun` would start
them as well, but killed, it leaves its processes at work; here each ends with the process that started it.
"""

import importlib
import multiprocessing
import os
import signal
import socket
import threading
import time
import traceback
from multiprocessing import connection
from pathlib import Path
from typing import Any

from dkd.errors import InputError, one_line
from pipeline import log as logs

GRACE = 30.0
"""Seconds in which processes that are asked to stop may save what they have."""


def run(rule: str, label: str, log: Path, arguments: tuple, number: int) -> Any:
    """What `pipeline.stages.RULE.run(*arguments)` returns in the first of `number` processes.

    All say what they do under `label` and in the file `log`, which of the others is errors only. Raises InputError
    where one fails or dies; the others end with it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1], "TORCH_CPP_LOG_LEVEL": "ERROR"}
    shared |= {"WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number}
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    ranks: list[Any] = []
    try:
        for rank in range(number):
            own = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
            given = (rank, own, rule, label, log, arguments, answers)
            ranks.append(context.Process(target=_work, name=f"rank {rank}", args=given))
            ranks[rank].start()
        while None in (codes := [rank.exitcode for rank in ranks]) and not any(codes):
            connection.wait([rank.sentinel for rank in ranks if rank.exitcode is None])
    except KeyboardInterrupt:
        end = time.monotonic() + GRACE
        for rank in ranks:
            rank.terminate()
        for rank in ranks:
            rank.join(max(0, end - time.monotonic()))
        raise
    finally:
        codes = [rank.exitcode for rank in ranks]
        for rank in ranks:
            rank.kill()
            rank.join()
    told = []
    while not answers.empty():
        told.append(answers.get())
    faults = [error for _, error in told if isinstance(error, Exception)]
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            hint = "often for want of memory; " if code == -signal.SIGKILL else ""
            why = f"was killed ({signal.Signals(-code).name}); {hint}the others were ended"
            raise InputError(f"process {rank} of {number} {why}; start again")
    if any(codes):
        raise [*faults, InputError(f"of {number} processes, one ended with a status other than 0; start again")][0]
    return dict(told)[0]


def _work(rank: int, own: dict[str, str], rule: str, label: str, log: Path, arguments: tuple, answers: Any) -> None:
    """One of the processes: do the work, and put its answer or its fault into `answers`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(own)
    logs.begin(label, log, quiet=rank > 0)
    status = 0
    try:
        answers.put((rank, importlib.import_module(f"pipeline.stages.{rule}").run(*arguments)))
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException as error:
        status, known = 1, isinstance(error, InputError | OSError)
        words = one_line(error).removeprefix("dkd: ") if known else traceback.format_exc()
        answers.put((rank, InputError(words) if known else RuntimeError(words)))
    # At once: what libraries do at the end of a process can wait for others that are gone.
    os._exit(status)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
