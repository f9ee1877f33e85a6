"""What an optimizer step costs with each method on a CPU: ResNet-101, 15 classes and 5 new ones, random images."""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch

from benchmarks import measure
from dkd import checkpoint, devices, methods
from dkd.config import methods as known
from dkd.config import schema as config
from dkd.losses import Target
from dkd.model.segmenter import Segmenter
from dkd.training.data import Task
from dkd.training.networks import build_networks, set_mode
from dkd.training.objective import Training
from dkd.training.optim import build_optimizer
from dkd.training.recipe import build as build_recipe
from dkd.training.recipe import of_step

OLD, NEW = 15, 5
NAMES = tuple(str(label) for label in range(OLD + NEW + 1))
TAKEN = [name for name in known.options() if name not in methods.BASES.values() and name != "dkd-m"]
"""Each method but the bases; a step of dkd-m is one of dkd."""


def options_of(name: str) -> methods.Options:
    """The options of a method by default."""
    values = known.options()[name]
    return methods.sort_options({k: v[0] if isinstance(v, tuple) else v for k, v in values.items()})


def base_of(head: str, folder: Path) -> Path:
    """A checkpoint of 15 classes with random weights, and what its method would remember of them."""
    place = folder / head
    if place.is_dir():
        return place
    place.mkdir()
    spec = {**config.Model().model_dump(), "pretrained": False, "frozen": False, "head": head}
    model, method = Segmenter(spec, [OLD]).eval(), import_module(methods.module_name(methods.BASES[head]))
    labels = torch.arange(OLD + 1).byte().repeat(1, 8, 4).view(1, 8, -1)
    seen = [(model(torch.randn(1, 3, *labels.shape[1:])), Target(labels, 1, 1.0, "negative", None))]
    kept = method.remember(seen, OLD) if hasattr(method, "remember") else {}
    step = checkpoint.Step("x", tuple(range(1, OLD + 1)), (OLD,), NAMES, methods.BASES[head], 0, spec)
    checkpoint.save(model, step, kept, place)
    return place


def build(name: str, folder: Path, batch: int, size: int) -> Callable[[], None]:
    """An optimizer step of a method."""
    torch.manual_seed(0)
    method, options = import_module(methods.module_name(name)), options_of(name)
    place, accelerator = base_of(methods.head(method), folder), devices.accelerator("cpu", None, "fp32")
    sections = {"train": config.Train().model_dump(), "increment": config.Increment(epochs=1, lr=1e-6).model_dump()}
    recipe = build_recipe(of_step(sections, 1), 0, options)
    task = Task("x", NAMES, tuple(range(1, OLD + NEW + 1)), (OLD, NEW), "overlap", [])
    student, teacher = build_networks(method, recipe, place, task, accelerator.device)
    optimizer, _ = build_optimizer(student, recipe, 100)
    set_mode(student, student, recipe.train_norms)
    labels = torch.randint(0, NEW + 1, (batch, size // 32, size // 32))
    labels = torch.where(labels > 0, labels + OLD, 0).to(torch.uint8)
    given = torch.randn(batch, 3, size, size), labels.repeat_interleave(32, 1).repeat_interleave(32, 2)
    training = Training(accelerator, method, teacher, recipe, 1, 100, OLD + 1, {})
    if hasattr(method, "prepare"):
        images, target = training.placed(*given)
        before = {"kept": checkpoint.kept(place), "setting": "overlap"} if hasattr(method, "remember") else {}
        with torch.no_grad():
            found = method.prepare([(teacher(images), target)], OLD + NEW, **options.loss, **before)
        training = training._replace(prepared={k: x.to(accelerator.device) for k, x in found.items()})

    def step() -> None:
        training.losses(student, *given)["total"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of processor time of each step, which other programs on the machine disturb least.

    The order changes in every round, and the first round is discarded.
    """
    taken, draw = {name: [] for name in steps}, random.Random(0)
    for done in range(rounds + 1):
        for name in draw.sample(list(steps), len(steps)):
            began = time.process_time()
            steps[name]()
            if done:
                taken[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    given = parser.parse_args()
    measure.start()
    with tempfile.TemporaryDirectory() as folder:
        steps = {name: build(name, Path(folder), given.batch, given.size) for name in TAKEN}
    taken = seconds(steps, given.rounds)
    lines = [(name, least * 1e3, least / taken["finetune"]) for name, least in taken.items()]
    title = f"step of {given.batch} images, {given.size} x {given.size}"
    measure.table((title, "ms of CPU time", "times finetune"), sorted(lines, key=lambda line: line[1]))


if __name__ == "__main__":
    main()
