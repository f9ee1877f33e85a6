"""What the benchmarks share: interleaved rounds, medians, and the peak memory of each variant in its own process."""

import multiprocessing
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Variants = dict[str, Callable[[], object]]


def start() -> None:
    """Fix the seed and print the machine; OMP_NUM_THREADS sets the number of threads."""
    torch.manual_seed(0)
    names = [x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
    threads = torch.get_num_threads()
    kind = "CPU time of 1 thread" if alone() else f"{threads} threads"
    where = f"{(names or [platform.machine()])[0]}, {kind} on {cores()} cores"
    if DEVICE.type == "cuda":
        where = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}; {where}"
    print(f"machine: {where}; torch {torch.__version__}, Python {platform.python_version()}", flush=True)


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def rounds(variants: Variants, number: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round (`clock`); the order changes in every round, the first is discarded."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    order, draw = list(variants), random.Random(0)
    for done in range(number + 1):
        draw.shuffle(order)
        for name in order:
            _wait()
            began = clock()
            variants[name]()
            _wait()
            if done:
                taken[name].append(clock() - began)
    return taken


def seconds(variants: Variants, number: int) -> dict[str, float]:
    """Median seconds of each variant over that many `rounds`."""
    return medians(rounds(variants, number))


def medians(taken: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in taken.items()}


def faster(taken: dict[str, list[float]], slow: str, fast: str) -> str:
    """How many times as long `slow` takes as `fast`: the median over rounds, and the middle half of them."""
    ratios = [long / short for long, short in zip(taken[slow], taken[fast], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def line(part: str, taken: dict[str, list[float]]) -> None:
    """Print a row of the table in docs/performance.md from `rounds` of `plain`, `before`, `dkd` and `limit`, where
    there are such: times, and how many times as long as `dkd` the first two take.
    """
    time = medians(taken)
    cells = [f"{time[name] * 1e3:.4g}" if name in time else "" for name in ("plain", "before", "dkd", "limit")]
    ratios = [faster(taken, name, "dkd") if name in time else "" for name in ("plain", "before")]
    print(f"| {' | '.join([part, *cells, *ratios])} |\n", flush=True)


def products() -> float:
    """Seconds per floating-point operation in a product of two large matrices: a bound for convolutions."""
    side = 1024
    a, b = torch.rand(side, side, device=DEVICE), torch.rand(side, side, device=DEVICE)
    out = torch.empty_like(a)
    return min(rounds({"": lambda: torch.matmul(a, b, out=out)}, 9)[""]) / (2 * side**3)


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of convolutions and products in `work`, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def alone() -> bool:
    """Whether CPU time is measured, in which other work on the machine does not count: with one thread on a CPU."""
    return DEVICE.type == "cpu" and torch.get_num_threads() == 1


def clock() -> float:
    """Seconds of this process's CPU time, or of the wall clock where several threads or a GPU work."""
    return time.process_time() if alone() else time.perf_counter()


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def peak(build: Callable[..., Variants], name: str, *args) -> float:
    """Peak memory of `build(*args)[name]` in MB above that before the call: resident set, or GPU allocator."""
    if DEVICE.type == "cuda":
        # Memory that this process has cached is not available to the new one.
        torch.cuda.empty_cache()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (build, name, args))


def _peak(build: Callable[..., Variants], name: str, args: tuple) -> float:
    variants = build(*args)
    if DEVICE.type == "cuda":
        variants[name]()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        variants[name]()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # Code and thread pools that libraries load at their first use do not count.
    (torch.rand(64, 64) @ torch.rand(64, 64)).sigmoid().sum().item()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    variants[name]()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def table(header: tuple[str, ...], rows: list[tuple]) -> None:
    """Print rows under a header with aligned columns; the first column is text."""
    cells = [header, *([x if isinstance(x, str) else f"{x:.4g}" for x in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        print("  ".join([row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))]))
    print(flush=True)
