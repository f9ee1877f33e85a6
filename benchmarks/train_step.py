"""A whole optimization step of incremental training: ResNet-101, teacher, losses, optimizer; and how it scales."""

import argparse
import os
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import torch
from torch.utils.data import DataLoader

from benchmarks import earlier, loader, measure
from dkd import devices
from dkd.config import schema as config
from dkd.data import transforms
from dkd.losses import Target
from dkd.methods import dkd, sort_options
from dkd.model.segmenter import Segmenter
from dkd.training.data import Batches, Samples
from dkd.training.optim import build_optimizer
from dkd.training.recipe import build as build_recipe
from dkd.training.recipe import of_step
from tests import plain

SPEC = {**config.Model().model_dump(), "pretrained": False}


def build(classes: tuple[int, int], batch: int, size: int, fast: bool, half: bool, last=False, compiled=False):
    """One step as a function of normalised images (random ones by default); `last`: channels_last."""
    torch.manual_seed(0)
    device, layout = measure.DEVICE, torch.channels_last if last else torch.contiguous_format
    teacher = Segmenter(SPEC, classes[:1]).eval().requires_grad_(False)
    student = Segmenter(SPEC, classes[:1])
    student.load_state_dict(teacher.state_dict())
    student.add_head(classes[1], "auxiliary")
    student.eval()
    student, teacher = (model.to(device, memory_format=layout) for model in (student, teacher))
    sections = {"train": config.Train().model_dump(), "increment": config.Increment(epochs=1, lr=1e-5).model_dump()}
    recipe = build_recipe(of_step(sections, 1), 0, sort_options({**plain.OPTIONS, "start": "auxiliary"}))
    optimizer, _ = build_optimizer(student, recipe, 100)
    if not fast:
        groups = [{k: group[k] for k in ("params", "lr", "weight_decay")} for group in optimizer.param_groups]
        optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    own = torch.randn(batch, 3, size, size).to(device, memory_format=layout)
    labels = torch.randint(0, classes[1] + 1, (batch, size // 32, size // 32)).to(device)
    labels = torch.where(labels > 0, labels + classes[0], 0).to(torch.uint8)
    labels = labels.repeat_interleave(32, 1).repeat_interleave(32, 2)
    target = Target(labels, classes[0] + 1, 1.0, "negative", None)
    form = dkd.loss if fast else plain.dkd
    network, frozen = (torch.compile(x) if compiled else x for x in (student, teacher))

    def step(images=own):
        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            output = network(images)
            with torch.no_grad():
                known = frozen(images)
        total, _ = form(output, known, target, **plain.OPTIONS)
        total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def only(*args):
    return {"step": build(*args)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--compile", action="store_true", help="on a CPU: only what torch.compile gains there")
    options = parser.parse_args()
    rounds = options.rounds
    measure.start()
    if measure.DEVICE.type == "cuda":
        return gpu(rounds)
    if options.compile:
        return compiled(rounds)
    case = ((100, 50), 2, 256)
    kinds = {
        "plain, float32": (False, False),
        "dkd, float32": (True, False, True),
        "plain, bf16": (False, True),
        "dkd, bf16": (True, True, True),
    }
    if devices.imitates_bf16():
        print("bf16: left out, since this CPU emulates it")
        kinds = {name: kind for name, kind in kinds.items() if not kind[1]}
    steps = {name: build(*case, *kind) for name, kind in kinds.items()}
    steps["before, float32"] = earlier.form(steps["dkd, float32"])
    taken = measure.rounds(steps, rounds)
    least = measure.operations(steps["dkd, float32"]) * measure.products()
    time = measure.medians(taken)
    space, lines = {name: measure.peak(only, "step", *case, *kind) for name, kind in kinds.items()}, []
    for name in kinds:
        alike = name.replace("dkd", "plain")
        gains = *(measure.faster(taken, slow, name) for slow in ("plain, float32", alike)), space[alike] / space[name]
        lines.append((name, time[name] * 1e3, space[name], *gains))
    head = ("ms", "peak MB", "times faster", "in the same precision", "times less")
    measure.table(("step of 2 images, 256 x 256", *head), lines)
    kept = {name: taken[f"{name}, float32"] for name in ("plain", "before", "dkd")}
    measure.line("incremental step, ResNet-101, 150 classes, 256 x 256, batch 2, float32", {**kept, "limit": [least]})
    grow(min(rounds, 2), 2, 256, (128, 384), (1, 4))
    print(f"fed from files, 1 worker: {share((100, 50), 2, 1, (True, False, True)):.1%} of the time is spent waiting")


def compiled(rounds: int) -> None:
    """What torch.compile gains on a CPU, and the CPU time until its first step is done, compilers included."""
    case = ((15, 5), 2, 256, True, False, True)
    steps, began = {"eager": build(*case), "compiled": build(*case, True)}, os.times()
    with tempfile.TemporaryDirectory() as empty, mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=empty):
        steps["compiled"]()
    spent = sum(os.times()[:4]) - sum(began[:4])
    taken = measure.rounds(steps, rounds)
    print(f"torch.compile: eager / compiled {measure.faster(taken, *steps)}; CPU time of the first step {spent:.0f} s")


def grow(rounds: int, batch: int, size: int, sizes: tuple[int, ...], batches: tuple[int, ...]) -> None:
    """Time and memory of a step in float32 by number of classes, pixels and images, one of them at a time."""
    cases = [(classes, batch, size) for classes in (20, 50, 100, 150)]
    cases += [(100, batch, other) for other in sizes] + [(100, other, size) for other in batches]
    work = {case: build((case[0] - 5, 5), *case[1:], True, False, True) for case in cases}
    timed, lines = measure.seconds(work, rounds), []
    work.clear()
    for (classes, n, side), taken in timed.items():
        space = measure.peak(only, "step", (classes - 5, 5), n, side, True, False, True)
        shown = f"{classes} classes, batch {n}, {side} x {side}"
        lines.append((shown, taken * 1e3, taken / n / side**2 * 1e9, space))
    least = lines[0][1]
    lines = [(*line, line[1] / least) for line in lines]
    measure.table(("growth of a step", "ms", "ns per pixel", "peak MB", "times the first"), lines)


def share(classes: tuple[int, int], batch: int, workers: int, kind: tuple) -> float:
    """Share of the time that a step on crops of 512 waits for images, which `workers` processes read and decode."""
    step, cuda = build(classes, batch, 512, *kind), measure.DEVICE.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        drawn = loader.shown(Path(folder), loader.draw(Path(folder)))
        recipe = loader.RECIPE._replace(batch=batch, epochs=99)
        order = Batches(len(drawn), recipe, 1, batch, 0, 1)
        samples = Samples(drawn, recipe, 1, 0)
        feed = iter(DataLoader(samples, batch_sampler=order, num_workers=workers, pin_memory=cuda))
        # The first steps start workers and select kernels, and do not count.
        for i in range(-8, 30) if cuda else range(-1, 3):
            asked = time.perf_counter()
            if i <= 0:
                waited, began = 0.0, asked
            images, _ = next(feed)
            waited += time.perf_counter() - asked
            step(transforms.normalise(images.to(measure.DEVICE, non_blocking=True)))
            if cuda:
                torch.cuda.synchronize()
        return waited / (time.perf_counter() - began)


def gpu(rounds: int) -> None:
    """Variants at 512 x 512 in bf16, to find the fastest one for CUDA."""
    workers = measure.cores()
    kinds = {
        "plain": (False, True),
        "dkd": (True, True),
        "dkd, channels_last": (True, True, True),
        "dkd, compile": (True, True, False, True),
        "dkd, channels_last, compile": (True, True, True, True),
    }
    head = ("ms", "images/s", "peak MB", "times faster", "% of time waiting for images")
    for classes in ((15, 5), (100, 50)):
        for batch in (8, 24):
            # All networks share one forward; without a reset, the last ones exceed the recompile limit and run eagerly.
            torch.compiler.reset()
            case = (classes, batch, 512)
            time, lines = measure.seconds({name: build(*case, *kind) for name, kind in kinds.items()}, rounds), []
            for name, kind in kinds.items():
                space = measure.peak(only, "step", *case, *kind)
                torch.compiler.reset()
                waiting = 100 * share(classes, batch, workers, kind)
                speed = (time[name] * 1e3, batch / time[name], space, time["plain"] / time[name])
                lines.append((name, *speed, waiting))
            title = f"{sum(classes)} classes, 512 x 512, batch {batch}, bf16, {workers} workers"
            measure.table((title, *head), lines)
    grow(rounds, 8, 512, (256, 384), (4, 16))


if __name__ == "__main__":
    main()
