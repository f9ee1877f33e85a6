"""Imports a stage, or runs it in several processes that share one piece of work; and where the lines of a job go.

Knows how processes find each other, end together, and tell in one line why; nothing of tensors. `torchrun` would start
them as well but, when killed, leaves its processes running; here each ends with the process that started it.
"""

import gc
import importlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
import traceback
from multiprocessing import connection
from pathlib import Path
from types import ModuleType
from typing import Any

from dkd.errors import InputError, one_line

GRACE = 30.0
"""Seconds in which processes that are asked to stop may save what they have."""


def stage(rule: str) -> ModuleType:
    """The module that does the work of a rule."""
    # What is imported stays; to look for garbage in it again and again makes this slower.
    gc.disable()
    try:
        return importlib.import_module(f"pipeline.stages.{rule}")
    finally:
        gc.enable()


def begin(label: str, path: Path, quiet: bool) -> None:
    """From now on `dkd` and `pipeline` log to the terminal and, with the time, to a file; `quiet`: errors only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal, file = logging.StreamHandler(), logging.FileHandler(path, encoding="utf-8")
    terminal.setFormatter(logging.Formatter(f"{label.replace('%', '%%')}: %(message)s"))
    terminal.setLevel(logging.INFO)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    top = logging.getLogger("dkd")
    top.setLevel(logging.ERROR if quiet else logging.DEBUG)
    top.propagate, top.handlers = False, [terminal, file]


def run(rule: str, label: str, log: Path, arguments: tuple, number: int) -> Any:
    """What a stage returns in the first of `number` processes. InputError where one fails or dies, as all do then."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shared |= {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    ranks: list[Any] = []
    try:
        for rank in range(number):
            process = context.Process(target=_work, args=(rank, shared, rule, label, log, arguments, answers))
            process.start()
            ranks.append(process)
        while None in (codes := [rank.exitcode for rank in ranks]) and not any(codes):
            # Now and then all the same: what a process has forked can keep its sentinel open when it is gone.
            connection.wait([rank.sentinel for rank in ranks if rank.exitcode is None], timeout=0.5)
    except KeyboardInterrupt:
        end = time.monotonic() + GRACE
        for rank in ranks:
            rank.terminate()
        for rank in ranks:
            rank.join(max(0, end - time.monotonic()))
        raise
    finally:
        codes = [rank.exitcode or 0 for rank in ranks]
        for rank in ranks:
            rank.kill()
            rank.join()
    if (code := min(codes)) < 0:
        hint = "often for want of memory; " if code == -signal.SIGKILL else ""
        why = f"was killed ({signal.Signals(-code).name}); {hint}the others were ended; start again"
        raise InputError(f"process {codes.index(code)} of {number} {why}")
    while not answers.empty():
        rank, answer = answers.get()
        if isinstance(answer, Exception):
            raise answer
        if rank == 0 and not any(codes):
            return answer
    raise InputError(f"of {number} processes, one ended with a status other than 0; start again")


def _work(rank: int, shared: dict[str, str], rule: str, label: str, log: Path, arguments: tuple, answers: Any) -> None:
    """One of the processes: do the work, and put its result or its error into `answers`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
    begin(label, log, quiet=rank > 0)
    status = 0
    try:
        answers.put((rank, stage(rule).run(*arguments)))
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException as error:
        known = isinstance(error, InputError | OSError)
        words = one_line(error, None).removeprefix("dkd: ") if known else traceback.format_exc()
        answers.put((rank, InputError(words) if known else RuntimeError(words)))
        status = 1
    # At once: what libraries do at the end of a process can wait for others that are gone.
    os._exit(status)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
