"""Device, precision and processes of a computation (by accelerate), its cost, and its errors for want of memory.

Knows nothing of what is computed.
"""

import logging
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from dkd.errors import InputError

log = logging.getLogger("dkd")
GRACE = 20
"""Seconds that a loader process outlives SIGTERM."""


class Runtime(NamedTuple):
    """How work is carried out on this machine; changes no result beyond rounding.

    Work ignores the values that it does not need.
    """

    device: str
    """auto, cpu, cuda, cuda:N or mps."""
    threads: int
    """Of a CPU."""
    workers: int
    """Processes that load images."""
    micro_batch: int | None
    """Most images per forward pass of training; None: a whole batch."""
    evaluate_batch: int
    """Images per forward pass of evaluation."""
    image_cache: int
    """MB of decoded images kept in shared memory."""
    save_minutes: float
    """Between two saved states of an unfinished training."""
    work: Path | None
    """Folder for the state of the unfinished training, which the next call continues; None: it is not kept."""
    trackers: tuple[str, ...]
    """That get the curves of a training (`dkd.training.trackers`)."""
    logs: Path
    """Folder that they write to."""
    name: str
    """Of the training, for them; a relative path."""


def accelerator(device: str, threads: int | None, precision: str) -> Accelerator:
    """`device` is auto, cpu, cuda, cuda:N or mps; `threads` are those of a CPU; `precision` is fp32, bf16 or fp16.

    Raises InputError if there is no such device on this machine, or it lacks the precision.
    """
    _check_device(device)
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    if on_cpu and precision == "fp16":
        raise InputError("train.precision: fp16 needs a CUDA device; use bf16 or fp32")
    if on_cpu and precision == "bf16" and imitates_bf16():
        log.warning("train.precision: this CPU has no bf16 arithmetic; emulated, it takes many times as long as fp32")
    if threads and on_cpu:
        torch.set_num_threads(threads)
    # Losses are float32; by default torch computes float32 convolutions on CUDA in TF32.
    torch.backends.cudnn.allow_tf32 = False
    # Classifiers of other steps can be without gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    if ":" in device:
        torch.cuda.set_device(device)
    mixed = "no" if precision == "fp32" else precision
    return Accelerator(mixed_precision=mixed, cpu=on_cpu, kwargs_handlers=[unused])


def _check_device(device: str) -> None:
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    here = ["auto", "cpu", *(["cuda", *cuda] if cuda else []), *(["mps"] if torch.backends.mps.is_available() else [])]
    if device in here:
        return
    reason = "unknown device"
    if re.fullmatch(r"cuda(:\d+)?", device):
        reason = "no such CUDA device is available" if cuda else "no CUDA device is available"
    elif device == "mps":
        reason = "no MPS device is available"
    raise InputError(f"device {device[:40]!r}: {reason}; this machine has {', '.join(here)}")


def outlive(*_: object) -> None:
    """Keep a loader process alive for its parent, which ends it, or first finishes its iteration, after a signal.

    SIGINT is ignored, SIGTERM ends the process `GRACE` seconds later.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE))


def imitates_bf16() -> bool:
    """Whether torch emulates bf16 on this machine's CPU: x86 without AVX-512."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def cost(device: torch.device) -> dict:
    """Device name, CUDA version, and peak memory in bytes: of a GPU's allocator, or the process's resident set."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        return {"device": torch.cuda.get_device_name(device), "cuda": torch.version.cuda, "peak_memory_bytes": peak}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"device": "cpu", "cuda": None, "peak_memory_bytes": peak}


@contextmanager
def explained(hint: str) -> Iterator[None]:
    """Turn errors of torch on too little memory, or on a loader process that died, into an InputError.

    `hint`: what was held in memory at once, and what to lower.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise InputError(f"out of memory: {hint}") from None
    except (ConnectionError, EOFError) as error:
        # What a loader process had sent can't be fetched any more.
        raise InputError(_gone(type(error).__name__)) from None
    except (InputError, OSError) as error:
        if "in DataLoader worker process" not in str(error):
            raise
        # The text is the traceback of the loader process; its last line is the error.
        raise InputError(str(error).strip().splitlines()[-1].partition(": ")[2]) from None
    except RuntimeError as error:
        words = str(error)
        if "can't allocate memory" in words:
            raise InputError(f"out of memory: {hint}") from None
        if "DataLoader worker" in words:
            raise InputError(_gone(words.split("(", 1)[-1].strip().rstrip("."))) from None
        raise


def _gone(reason: str) -> str:
    return f"a process that loads images died ({reason}; mostly for want of memory): lower runtime.workers"
