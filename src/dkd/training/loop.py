"""Training of one step, whatever the method.

A method is a module with

    TEACHER  whether it needs the previous network's output
    loss(student, teacher, target, **options) -> total, named terms

and maybe more (docs/how-to/add-a-method.md). This knows precision, processes and the order of things, no loss. The
paper's recipe is in docs/method.md. All randomness follows from (seed, step, epoch, image).
"""

import itertools
import logging
import math
import time
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from dkd import checkpoint, devices, files, methods, seeds
from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.errors import InputError
from dkd.model import sync
from dkd.training import divergence, resume, signals, trackers
from dkd.training.data import Batches, Sample, Samples, Task, micro_batch, read_replayed, read_task
from dkd.training.log import WINDOW, Progress, windows, write_history
from dkd.training.networks import build_networks, set_mode
from dkd.training.objective import Training, prepare, remember
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
    """Train step `step` of a tasks file and write checkpoint, train.csv and loss.csv into `out`.

    `network`: at the base the values of `model:` in params.yaml, at a later step the checkpoint of the step before.
    `memory`: exemplars of earlier steps (`dkd.training.exemplars`) to replay, or None. Where `runtime.work` is given,
    the state of the unfinished training is kept there and the next call continues from it. Returns the cost: device,
    images, iterations, peak memory in bytes, seconds. Raises InputError where the step can't be trained with these
    values, or a loss is not finite or explodes.
    """
    methods.check(method)
    accelerator = devices.accelerator(runtime.device, runtime.threads, recipe.precision)
    main, rank, ranks = accelerator.is_main_process, accelerator.process_index, accelerator.num_processes
    trackers.check(runtime.trackers)
    micro = micro_batch(recipe.batch, ranks, runtime.micro_batch)
    accelerator.gradient_accumulation_steps = recipe.batch // ranks // micro
    base = isinstance(network, dict)
    train_norms = base or recipe.train_norms
    if train_norms and micro == 1:
        raise InputError("training batch norms needs 2 images at a time; raise train.batch or runtime.micro_batch")

    task, replayed = _read(inputs, step, recipe, memory)
    iterations = recipe.epochs * ((len(task.samples) + len(replayed)) // recipe.batch)

    torch.manual_seed(seeds.derive(recipe.seed, step))
    student, teacher = build_networks(method, recipe, network, task, accelerator.device)
    state = State(student, *build_optimizer(student, recipe, iterations))
    if train_norms and ranks > 1:
        sync.synchronise(student, accelerator.device)
    if rank:
        # All processes share one network, but not one dropout mask.
        torch.manual_seed(seeds.derive(recipe.seed, step, rank))
    samples = Samples(task.samples + replayed, recipe, step, runtime.image_cache)
    name = methods.method_name(method.__name__)
    learned = checkpoint.Step(
        *(task.dataset, task.order, task.sizes, task.class_names, name, recipe.seed, student.spec, task.setting),
        side=round(recipe.crop / math.sqrt(min(1.0, recipe.scale[0]))),
    )

    keeper = _keeper(runtime, [learned, samples.first, recipe, [each.id for each in samples.samples]], network)
    done = keeper.found["done"] if keeper and keeper.found else 0
    loader = _loader(samples, micro, done, runtime.workers, accelerator)
    _announce(step, task, len(replayed), recipe.epochs, iterations, keeper)
    started = time.perf_counter()
    training = Training(accelerator, method, teacher, recipe, step, iterations, samples.first, {}, {})
    facts = {"dataset": task.dataset, "setting": task.setting, "method": name, "step": step, **recipe._asdict()}
    hint = f"{micro} images of {recipe.crop} x {recipe.crop} at once; lower runtime.micro_batch or train.crop"
    with devices.explained(hint), trackers.curves(runtime, main, facts, done) as curves:
        progress = Progress(step, recipe.epochs, iterations, recipe.batch, main=main, curves=curves)
        before, shown = _before(method, network, task), (samples, micro, runtime.workers)
        found = keeper.found["prepared"] if done else prepare(training, *shown, before)
        training = training.with_prepared(found)
        iterate(training, state, loader, keeper, progress)
        kept = remember(training, student, *shown)
    seconds = time.perf_counter() - started
    if main:
        write_history(state.history, list(state.history[0]), out / "train.csv")
        write_history(state.curve, WINDOW, out / "loss.csv")
        checkpoint.save(student, learned, kept, out)
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


def _read(inputs: Inputs, step: int, recipe: Recipe, memory: Path | None) -> tuple[Task, list[Sample]]:
    """The task of a step, and the exemplars to replay; InputError where there are fewer images than a batch has."""
    task = read_task(inputs, step)
    replayed = read_replayed(memory, recipe.replay, inputs, task) if memory else []
    images = len(task.samples) + len(replayed)
    if images < recipe.batch:
        raise InputError(
            f"step {step}: {images} training images are fewer than a batch of {recipe.batch}; lower train.batch"
        )
    return task, replayed


def _before(method: ModuleType, network: dict | Path, task: Task) -> dict[str, Any]:
    """What a method that remembers is told when it prepares a later step."""
    if isinstance(network, dict) or not hasattr(method, "remember"):
        return {}
    return {"kept": checkpoint.kept(network), "setting": task.setting}


def _keeper(runtime: Runtime, identity: list, network: dict | Path) -> CheckpointKeeper | None:
    """What keeps the state of a training that is identified by these values and by the weights that it starts from."""
    if runtime.work is None:
        return None
    source = None if isinstance(network, dict) else files.digest(network / checkpoint.WEIGHTS)
    return CheckpointKeeper(runtime.work, runtime.save_minutes, [*identity, source])


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
    network, state.optimizer = accelerator.prepare(state.student, state.optimizer)
    set_mode(network, state.student, training.recipe.train_norms)
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
            parts = accelerator.gradient_accumulation_steps
            for name, value in losses.items():
                state.sums[name] = state.sums.get(name, 0.0) + value.detach() / parts
            if resume.EACH not in state.sums:
                # In the middle of an epoch where a state of an earlier version has none: what is not known stays so.
                known = math.nan if state.done % per_epoch else 0.0
                state.sums[resume.EACH] = torch.full((per_epoch,), known, device=accelerator.device)
            state.sums[resume.EACH][state.done % per_epoch] += losses["total"].detach() / parts
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
            if progress.curves.due(state.done):
                last = torch.stack([values for number, values in unchecked if number == state.done]).mean(0).tolist()
                named = {f"iteration/{name}": value for name, value in zip(losses, last, strict=True)}
                progress.curves.record(named, state.done)
            unchecked.clear()
            if not rest:
                sums = accelerator.reduce(state.sums, reduction="mean")
                state.curve += windows(sums.pop(resume.EACH), epoch, training.recipe.epochs)
                means = {k: v / per_epoch for k, v in sums.items()}
                state.history.append({"epoch": epoch, "lr": rate, **{k: v.item() for k, v in means.items()}})
                state.sums = {}
                progress.epoch(state.history[-1], state.done)
            if keeper is None:
                continue
            stop.number, due = _agree(accelerator, stop.number, state.done < training.iterations and keeper.due())
            if stop.number or due:
                content = {**resume.collect(accelerator, state), "prepared": training.prepared}
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
