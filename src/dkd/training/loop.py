"""Training of one step, whatever the method.

A method is a module with

    TEACHER  whether it needs the previous network's output
    loss(student, teacher, target, **options) -> total, named terms

(docs/how-to/add-a-method.md). This knows precision, processes and the order of things, no loss. The paper's recipe is
in docs/method.md. All randomness follows from (seed, step, epoch, image).
"""

import hashlib
import itertools
import logging
import time
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dkd import checkpoint, devices, methods, seeds
from dkd.data import transforms
from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.errors import InputError
from dkd.losses import Target
from dkd.model import sync
from dkd.model.segmenter import Segmenter
from dkd.training import divergence, resume, signals
from dkd.training.data import Batches, Samples, Task, micro_batch, read_replayed, read_task
from dkd.training.log import Progress, tensorboard_curves, write_history
from dkd.training.optim import build_optimizer
from dkd.training.recipe import Recipe
from dkd.training.resume import CheckpointKeeper, State

log = logging.getLogger("dkd")
CHECK_EVERY = 10
"""On a GPU, losses, clock and signals are checked every so many iterations, because a check waits for the GPU."""


def train(
    method: ModuleType,
    step: int,
    recipe: Recipe,
    inputs: Inputs,
    runtime: Runtime,
    *,
    network: dict | Path,
    memory: Path | None,
    out: Path,
) -> dict:
    """Train step `step` of a tasks file and write checkpoint and train.csv into `out`.

    `network`: at the base the values of `model:` in params.yaml, at a later step the checkpoint of the step before.
    `memory`: exemplars of earlier steps (`dkd.training.exemplars`) to replay, or None. Where `runtime.work` is given,
    the state of the unfinished training is kept there and the next call continues from it. Returns the cost: device,
    images, iterations, peak memory in bytes, seconds. Raises InputError where the step can't be trained with these
    values, or a loss is not finite or explodes.
    """
    methods.check(method)
    accelerator = devices.accelerator(runtime.device, runtime.threads, recipe.precision)
    main, rank, ranks = accelerator.is_main_process, accelerator.process_index, accelerator.num_processes
    curves = tensorboard_curves(runtime.tensorboard_dir) if runtime.tensorboard_dir and main else None
    micro = micro_batch(recipe.batch, ranks, runtime.micro_batch)
    accelerator.gradient_accumulation_steps = recipe.batch // ranks // micro
    base = isinstance(network, dict)
    if base and micro == 1:
        raise InputError("batch norm at the base needs 2 images at a time; raise train.batch or runtime.micro_batch")

    task = read_task(inputs, step)
    replayed = read_replayed(memory, recipe.replay, inputs, task) if memory else []
    images = len(task.samples) + len(replayed)
    if images < recipe.batch:
        raise InputError(
            f"step {step}: {images} training images are fewer than a batch of {recipe.batch}; lower train.batch"
        )
    iterations = recipe.epochs * (images // recipe.batch)

    torch.manual_seed(seeds.derive(recipe.seed, step))
    student, teacher = _networks(method, recipe, network, task, accelerator.device)
    state = State(student, *build_optimizer(student, recipe, iterations))
    if base and ranks > 1:
        sync.synchronise(student, accelerator.device)
    if rank:
        # All processes share one network, but not one dropout mask.
        torch.manual_seed(seeds.derive(recipe.seed, step, rank))
    samples = Samples(task.samples + replayed, recipe, step, runtime.image_cache)
    name = methods.method_name(method.__name__)
    learned = checkpoint.Step(
        *(task.dataset, task.order, task.sizes, task.class_names, name, recipe.seed, student.spec, task.setting)
    )

    keeper = None
    if runtime.work is not None:
        source = None if base else _digest(network / checkpoint.WEIGHTS)
        identity = [learned, samples.first, recipe, [sample.id for sample in samples.samples], source]
        keeper = CheckpointKeeper(runtime.work, runtime.save_minutes, identity)
    done = keeper.found["done"] if keeper and keeper.found else 0
    loader = _loader(samples, micro, done, runtime.workers, accelerator)
    _announce(step, task, len(replayed), recipe.epochs, iterations, keeper)
    started = time.perf_counter()
    training = Training(accelerator, method, teacher, recipe, step, iterations, samples.first)
    progress = Progress(step, recipe.epochs, iterations, recipe.batch, main=main, curves=curves)
    hint = f"{micro} images of {recipe.crop} x {recipe.crop} at once; lower runtime.micro_batch or train.crop"
    with devices.explained(hint):
        iterate(training, state, loader, keeper, progress)
    seconds = time.perf_counter() - started
    if main:
        write_history(state.history, out / "train.csv")
        checkpoint.save(student, learned, out)
    accelerator.wait_for_everyone()
    return {
        **devices.cost(accelerator.device),
        "processes": ranks,
        "micro_batch": micro,
        "images": iterations * recipe.batch,
        "iterations": iterations,
        "resumed_at": done,
        "seconds_training": round(seconds, 3),
    }


def _networks(
    method: ModuleType, recipe: Recipe, network: dict | Path, task: Task, device: torch.device
) -> tuple[Segmenter, Segmenter | None]:
    """The student, and on `device` the teacher if the method needs one."""
    if device.type == "mps":
        raise InputError("device 'mps': losses need float64, which it lacks; train with cpu or cuda")
    teacher = None
    if isinstance(network, dict):
        student = Segmenter(network, task.sizes)
        # The path of a file of weights is no part of what was learned.
        student.spec["pretrained"] = bool(network["pretrained"])
    else:
        student, learned = checkpoint.load(network)
        _check_previous(network, learned, task)
        student.add_head(task.sizes[-1], from_auxiliary=recipe.head_init == "auxiliary")
        if method.TEACHER:
            teacher = checkpoint.load(network, device)[0].requires_grad_(False)
            teacher.to(memory_format=torch.channels_last)
    return student.to(memory_format=torch.channels_last), teacher


def _check_previous(folder: Path, learned: checkpoint.Step, task: Task) -> None:
    """Raise InputError unless a checkpoint has learned the steps before this one, by the same names."""
    for label in learned.order:
        theirs = task.class_names[label] if label < len(task.class_names) else None
        if theirs != learned.class_names[label]:
            raise InputError(
                f"{folder}: label {label} is {learned.class_names[label]!r}, but {theirs!r} in the index; name a "
                "checkpoint that was trained on this data set"
            )
    if (learned.order, learned.sizes) != (task.order[: len(learned.order)], task.sizes[:-1]):
        raise InputError(
            f"{folder}: has learned {learned.order} in steps of {learned.sizes}; the tasks file has {task.order} in "
            f"steps of {task.sizes}"
        )


def _loader(samples: Samples, micro: int, done: int, workers: int, accelerator: Accelerator) -> DataLoader:
    """The micro-batches of this process after `done` iterations."""
    rank, ranks = accelerator.process_index, accelerator.num_processes
    batches = Batches(len(samples.samples), samples.recipe, samples.step, micro, rank, ranks)
    return DataLoader(
        samples,
        batch_sampler=itertools.islice(batches, done * accelerator.gradient_accumulation_steps, None),
        num_workers=workers,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=devices.outlive,
    )


def _announce(
    step: int, task: Task, replayed: int, epochs: int, iterations: int, keeper: CheckpointKeeper | None
) -> None:
    new = ", ".join(task.class_names[label] for label in task.new)
    images = f"{len(task.samples) + replayed} images" + (f", {replayed} of them replayed" if replayed else "")
    log.info("step %d (%s): %s, %d epochs of %d iterations", step, new, images, epochs, iterations // epochs)
    if keeper and keeper.found:
        log.info("continues after iteration %d of %d, from %s", keeper.found["done"], iterations, keeper.file)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Training(NamedTuple):
    """What stays the same over the iterations of a step."""

    accelerator: Accelerator
    method: ModuleType
    teacher: Segmenter | None
    recipe: Recipe
    step: int
    iterations: int
    first: int
    """The first labelled id."""

    def losses(self, network: nn.Module, images: Tensor, labels: Tensor, *visible: Tensor) -> dict[str, Tensor]:
        """The `total` and every named term for a micro-batch: images (n, 3, H, W), uint8 or normalised float32; ids
        (n, H, W) uint8; where images differ in it, which ids from `first` on are labelled, (n, K) bool.
        """
        device = self.accelerator.device
        images = images.to(device, non_blocking=True)
        images = transforms.normalise(images) if images.dtype == torch.uint8 else images
        labels = labels.to(device, non_blocking=True)
        with self.accelerator.autocast():
            output = network(images)
            with torch.no_grad():
                teacher_output = self.teacher(images) if self.teacher is not None else None
        with torch.autocast(device.type, enabled=False):
            label_mask = visible[0].to(device) if visible else None
            target = Target(labels, self.first, self.recipe.pos_weight, self.recipe.void, label_mask)
            total, terms = self.method.loss(output, teacher_output, target, **self.recipe.loss_options)
        return {"total": total, **terms}


def iterate(
    training: Training,
    state: State,
    loader: Iterable[tuple[Tensor, ...]],
    keeper: CheckpointKeeper | None,
    progress: Progress,
) -> None:
    """Train `state.student` in place on the micro-batches of `loader` (`Training.losses`).

    `keeper` saves the state now and then. Where it has found one, training continues from there, and `loader` has to
    start there. Raises InputError where a loss is not finite or explodes.
    """
    accelerator, per_epoch = training.accelerator, training.iterations // training.recipe.epochs
    check_every = 1 if accelerator.device.type == "cpu" else CHECK_EVERY
    # The recipe trains every later step in eval mode: batch norms keep their statistics, dropout is off.
    incremental = len(state.student.heads) > 1
    state.student.train(not incremental)
    network, state.optimizer = accelerator.prepare(state.student, state.optimizer)
    network.train(not incremental)
    unchecked: list[tuple[int, Tensor]] = []
    # Before random states are restored: this draws a random number.
    batches = iter(loader)
    if keeper and keeper.found:
        resume.restore(keeper.found, accelerator, state)
    progress.begin(state.done)
    with progress, signals.Deferred() if keeper else nullcontext() as stop:
        for batch in batches:
            with accelerator.accumulate(network):
                losses = training.losses(network, *batch)
                accelerator.backward(losses["total"])
                state.optimizer.step()
                state.optimizer.zero_grad(set_to_none=True)
            for name, value in losses.items():
                state.sums[name] = state.sums.get(name, 0.0) + value.detach() / accelerator.gradient_accumulation_steps
            unchecked.append((state.done + 1, torch.stack(list(losses.values())).detach()))
            progress.advance(len(batch[0]) * accelerator.num_processes)
            if not accelerator.sync_gradients:
                continue
            rate = state.schedule.get_last_lr()[0]
            with warnings.catch_warnings():
                # fp16 skips steps that overflow, maybe the first; the schedule counts iterations all the same.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                state.schedule.step()
            state.done += 1
            epoch, rest = divmod(state.done, per_epoch)
            if state.done % check_every and rest:
                continue
            given = divergence.Losses(tuple(losses), unchecked)
            divergence.check(given, state, (training.step, per_epoch), training.recipe.precision, keeper)
            unchecked.clear()
            if not rest:
                means = {k: v / per_epoch for k, v in accelerator.reduce(state.sums, reduction="mean").items()}
                state.history.append({"epoch": epoch, "lr": rate, **{k: v.item() for k, v in means.items()}})
                state.sums = {}
                progress.epoch(state.history[-1], state.done)
            if keeper is None:
                continue
            stop.number, due = _agree(accelerator, stop.number, state.done < training.iterations and keeper.due())
            if stop.number or due:
                content = resume.collect(accelerator, state)
                if accelerator.is_main_process:
                    keeper.save(content)
            if stop.number:
                log.info("stopped by a signal after iteration %d of %d", state.done, training.iterations)
                break


def _agree(accelerator: Accelerator, number: int, due: bool) -> tuple[int, bool]:
    """The signal that any process got, and whether a state is due in the main one: the same in all processes."""
    if accelerator.num_processes == 1:
        return number, due
    mine = torch.tensor([[number, due and accelerator.is_main_process]], device=accelerator.device)
    number, due = accelerator.gather(mine).amax(0).tolist()
    return number, bool(due)
