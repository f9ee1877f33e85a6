"""The training loop of one step, whatever the method.

Knows tasks, pictures, optimiser, precision and distribution; what is learned from a batch is the method's business. A
method is a module with

    TEACHER  whether it needs the previous network's answer
    loss(student, teacher, target, **weights) -> total, named terms

The paper's recipe is in docs/method.md. All randomness follows from (seed, step, epoch, picture).
"""

import csv
import hashlib
import itertools
import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from dkd import checkpoint, devices, seeds
from dkd.data import classes, transforms
from dkd.data import index as index_file
from dkd.data import tasks as tasks_file
from dkd.data.cache import ImageCache
from dkd.data.reader import Encoding
from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.errors import InputError
from dkd.losses import Target
from dkd.methods import method_name
from dkd.model import sync
from dkd.model.segmenter import Segmenter
from dkd.training import exemplars as memory_file
from dkd.training import resume, signals
from dkd.training.recipe import Recipe

log = logging.getLogger("dkd")
WARMUP_START = 0.001
LOOK = 10
"""On a GPU, losses, clock and signals are looked at every so many iterations, because a look waits for the GPU."""


class Picture(NamedTuple):
    """What a step trains on: a picture of its task, or one of an earlier step that is replayed."""

    id: str
    """What its crops are drawn from; a replayed picture has another one than the same picture of the task."""
    image: Path
    mask: Path
    encoding: Encoding
    """How the mask stores labels."""
    table: np.ndarray
    """From what the mask stores to ids."""
    visible: tuple[int, ...]
    """Ids that its labels speak of."""


class Samples(Dataset):
    """Training pictures of a step, asked for as (epoch, position)."""

    def __init__(self, pictures: list[Picture], recipe: Recipe, step: int, cache: int):
        self.pictures, self.recipe, self.step = pictures, recipe, step
        self.files = ImageCache([(picture.image, picture.mask, picture.encoding) for picture in pictures], cache)
        self.first, self.last = min(min(p.visible) for p in pictures), max(max(p.visible) for p in pictures)
        self.alike = len({picture.visible for picture in pictures}) == 1

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, ...]:
        """(3, crop, crop) and ids (crop, crop), both uint8; where pictures differ in it, visible ids (K,) bool."""
        epoch, position = item
        picture, recipe = self.pictures[position], self.recipe
        image, mask = self.files[position]
        sample = transforms.train_sample(
            image,
            mask,
            picture.table,
            seed=seeds.derive(recipe.seed, self.step, epoch, picture.id),
            crop=recipe.crop,
            scale=recipe.scale,
            ratio=recipe.ratio,
            flip=recipe.flip,
        )
        if self.alike:
            return sample
        visible = torch.zeros(self.last - self.first + 1, dtype=torch.bool)
        visible[[id - self.first for id in picture.visible]] = True
        return *sample, visible


class Batches:
    """Positions of every micro-batch of one process: a fresh permutation per epoch, incomplete batches dropped."""

    def __init__(self, pictures: int, recipe: Recipe, micro: int, rank: int, ranks: int, step: int):
        self.pictures, self.recipe, self.micro = pictures, recipe, micro
        self.rank, self.ranks, self.step = rank, ranks, step

    def __len__(self) -> int:
        share = self.recipe.batch // self.ranks
        return self.recipe.epochs * (self.pictures // self.recipe.batch) * (share // self.micro)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batch, share = self.recipe.batch, self.recipe.batch // self.ranks
        for epoch in range(self.recipe.epochs):
            generator = torch.Generator().manual_seed(seeds.derive(self.recipe.seed, self.step, epoch))
            order = torch.randperm(self.pictures, generator=generator).tolist()
            for start in range(0, self.pictures - batch + 1, batch):
                own = order[start + self.rank * share : start + (self.rank + 1) * share]
                for i in range(0, share, self.micro):
                    yield [(epoch, position) for position in own[i : i + self.micro]]


def optimise(
    model: Segmenter, recipe: Recipe, iterations: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD and its schedule over `iterations`, as released: linear warm-up, if any, then polynomial decay.

    Backbone at `lr`, decoder and classifiers at `head_lr` times that. Base (one classifier): weight decay everywhere.
    Later: batch norms out, weight decay on the new classifier alone.
    """
    incremental = len(model.heads) > 1
    frozen = set(model.backbone.parameters()) if model.spec.get("frozen") else set()
    if incremental:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                frozen |= set(module.parameters())
    for parameter in frozen:
        parameter.requires_grad_(False)

    def group(modules: list[nn.Module], factor: float, decay: float) -> dict:
        parameters = [p for module in modules for p in module.parameters() if p not in frozen]
        return {"params": parameters, "lr": recipe.lr * factor, "weight_decay": decay}

    decay = 0.0 if incremental else recipe.weight_decay
    *old, new = model.heads
    groups = [
        group([model.backbone], 1.0, decay),
        group([model.aspp, model.last_conv], recipe.head_lr, decay),
    ]
    if incremental:
        groups.append(group([model.auxiliary, *old], recipe.head_lr, decay))
        groups.append(group([new], recipe.head_lr, recipe.weight_decay))
    else:
        groups.append(group([model.auxiliary, *model.heads], recipe.head_lr, decay))
    optimizer = torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
    if recipe.momentum:
        # Where the first step of all is skipped (fp16 overflows), torch's fused SGD leaves its buffers unset.
        for parameter in (p for group in groups for p in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    rising = round(recipe.warmup * iterations)

    def factor(i: int) -> float:
        if i < rising:
            return WARMUP_START + (1 - WARMUP_START) * i / rising
        return max(0.0, 1 - (i - rising) / (iterations - rising)) ** recipe.power

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def micro_batch(batch: int, ranks: int, most: int | None) -> int:
    """Pictures per forward pass of one process: the largest divisor of its share of `batch` not above `most`."""
    if batch % ranks:
        raise InputError(f"train.batch: {batch} is not a multiple of {ranks} processes")
    share = batch // ranks
    return max(n for n in range(1, share + 1) if share % n == 0 and n <= (most or share))


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
    values, or a loss is not finite.
    """
    for name in ("TEACHER", "loss"):
        if not hasattr(method, name):
            raise InputError(
                f"{method.__name__}: {name} is missing; docs/how-to/add-a-method.md says what a method has"
            )
    previous, seed = (network if isinstance(network, Path) else None), recipe.seed
    accelerator = devices.accelerator(runtime.device, runtime.threads, recipe.precision)
    board = runtime.tensorboard_dir
    writer = _board(board) if board and accelerator.is_main_process else None
    micro = micro_batch(recipe.batch, accelerator.num_processes, runtime.micro_batch)
    accelerator.gradient_accumulation_steps = recipe.batch // accelerator.num_processes // micro
    task = _task(inputs, step)
    pictures, order, sizes = task.pictures, task.order, task.sizes
    if memory is not None:
        pictures = pictures + _replayed(memory, recipe.replay, inputs, task)
    if len(pictures) < recipe.batch:
        raise InputError(
            f"step {step}: {len(pictures)} training pictures are fewer than a batch of {recipe.batch}; "
            "lower train.batch"
        )
    if previous is None and micro == 1:
        raise InputError("batch norm at the base needs 2 pictures at a time; raise train.batch or runtime.micro_batch")

    torch.manual_seed(seeds.derive(seed, step))
    teacher = None
    if previous is None:
        student = Segmenter(network, sizes)
        spec = {**student.spec, "pretrained": bool(network["pretrained"])}
    else:
        student, learned = checkpoint.load(previous)
        if (learned.order, learned.sizes) != (order[: len(learned.order)], sizes[:-1]):
            raise InputError(
                f"{previous}: has learned {learned.order} in steps of {learned.sizes}, not what {inputs.tasks} says"
            )
        spec = learned.model
        student.add_head(sizes[-1], from_auxiliary=recipe.head_init == "auxiliary")
        if method.TEACHER:
            teacher = checkpoint.load(previous, accelerator.device)[0].requires_grad_(False)
    for each in (student, teacher):
        if each is not None:
            each.to(memory_format=torch.channels_last)
    learned = checkpoint.Step(task.dataset, order, sizes, task.names, method_name(method.__name__), seed, spec)
    batches = Batches(len(pictures), recipe, micro, accelerator.process_index, accelerator.num_processes, step)
    per_epoch = len(pictures) // recipe.batch
    iterations = recipe.epochs * per_epoch
    optimizer, schedule = optimise(student, recipe, iterations)
    if previous is None and accelerator.num_processes > 1:
        sync.synchronise(student, accelerator.device)
    if accelerator.process_index:
        # One network in all processes, but not one dropout.
        torch.manual_seed(seeds.derive(seed, step, accelerator.process_index))
    samples = Samples(pictures, recipe, step, runtime.image_cache)
    first, keeper = samples.first, None
    if runtime.work is not None:
        shown, source = [picture.id for picture in pictures], previous and _digest(previous / checkpoint.WEIGHTS)
        asked = [learned, first, recipe, shown, source]
        keeper = resume.Keeper(runtime.work, runtime.save_minutes, asked)
    done = keeper.found["done"] if keeper and keeper.found else 0
    loader = DataLoader(
        samples,
        batch_sampler=itertools.islice(batches, done * accelerator.gradient_accumulation_steps, None),
        num_workers=runtime.workers,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=signals.outlive,
    )
    new = ", ".join(task.names[label] for label in order[-sizes[-1] :])
    again = f", {len(pictures) - len(task.pictures)} of them replayed" if memory else ""
    log.info(
        "step %d (%s): %d pictures%s, %d epochs of %d iterations",
        *(step, new, len(pictures), again, recipe.epochs, per_epoch),
    )
    if done:
        log.info("goes on after iteration %d of %d, from %s", done, iterations, keeper.file)
    started = time.perf_counter()
    hint = f"{micro} pictures of {recipe.crop} x {recipe.crop} at once; lower runtime.micro_batch or train.crop"
    with devices.explained(hint):
        history = loop(
            accelerator,
            method,
            student,
            teacher,
            optimizer,
            schedule,
            loader,
            recipe,
            iterations,
            step,
            first,
            keeper,
            writer,
        )
    seconds = time.perf_counter() - started
    if accelerator.is_main_process:
        _write_history(history, out / "train.csv")
        checkpoint.save(student, learned, out)
    accelerator.wait_for_everyone()
    return {
        **devices.cost(accelerator.device),
        "processes": accelerator.num_processes,
        "micro_batch": micro,
        "images": iterations * recipe.batch,
        "iterations": iterations,
        "resumed_at": done,
        "seconds_training": round(seconds, 3),
    }


def loop(
    accelerator: Accelerator,
    method: ModuleType,
    student: Segmenter,
    teacher: Segmenter | None,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    loader: Iterable[tuple[Tensor, ...]],
    recipe: Recipe,
    iterations: int,
    step: int,
    first: int,
    keeper: resume.Keeper | None = None,
    board: Callable[[dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Train `student` in place on the micro-batches of `loader`: images (n, 3, H, W), uint8 or normalised float32,
    and ids (n, H, W) uint8.

    Labels speak of the ids from `first` on; a third tensor, if any, says for each picture of which of them. `keeper`
    keeps the state now and then; where it has found one, this goes on from there, and `loader` has to begin there.
    `board` is given each epoch's record.
    Returns a record per epoch: epoch, the backbone's last learning rate, the total and every named term (means).
    Raises InputError where a loss is not finite.
    """
    incremental = len(student.heads) > 1
    # Eval mode is what the recipe asks of every later step: batch norms keep their statistics, dropout is off.
    student.train(not incremental)
    network, optimizer = accelerator.prepare(student, optimizer)
    network.train(not incremental)
    per_epoch = iterations // recipe.epochs
    look = 1 if accelerator.device.type == "cpu" else LOOK
    history: list[dict[str, float]] = []
    sums: dict[str, Tensor] = {}
    recent: list[tuple[int, Tensor]] = []
    done = 0
    # Before random states are put back: this draws from them.
    batches = iter(loader)
    if keeper and keeper.found:
        sums = resume.restore(keeper.found, accelerator, student, optimizer, schedule)
        done, history = keeper.found["done"], keeper.found["history"]
    started, begun = time.perf_counter(), done
    hidden = None if accelerator.is_main_process else True
    bar = tqdm(total=iterations * recipe.batch, unit=" images", desc=f"step {step}", leave=False, disable=hidden)
    bar.update(done * recipe.batch)
    bar.unpause()
    with bar, signals.Deferred() if keeper else nullcontext() as asked:
        for images, labels, *visible in batches:
            images = images.to(accelerator.device, non_blocking=True)
            images = transforms.normalise(images) if images.dtype == torch.uint8 else images
            labels = labels.to(accelerator.device, non_blocking=True)
            with accelerator.accumulate(network):
                with accelerator.autocast():
                    answer = network(images)
                    with torch.no_grad():
                        taught = teacher(images) if teacher is not None else None
                with torch.autocast(accelerator.device.type, enabled=False):
                    spoken = visible[0].to(accelerator.device) if visible else None
                    truth = Target(labels, first, recipe.pos_weight, recipe.void, spoken)
                    total, terms = method.loss(answer, taught, truth, **recipe.loss_options)
                accelerator.backward(total)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for name, value in {"total": total, **terms}.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / accelerator.gradient_accumulation_steps
            recent.append((done + 1, torch.stack([total, *terms.values()]).detach()))
            bar.update(len(images) * accelerator.num_processes)
            if not accelerator.sync_gradients:
                continue
            rate = schedule.get_last_lr()[0]
            with warnings.catch_warnings():
                # fp16 leaves out steps that overflow, maybe the first; the schedule is one of iterations all the same.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                schedule.step()
            done += 1
            ended = done % per_epoch == 0
            if done % look and not ended:
                continue
            _check_finite(recent, ("total", *terms), step, per_epoch, keeper)
            recent.clear()
            if ended:
                means = {k: v / per_epoch for k, v in accelerator.reduce(sums, reduction="mean").items()}
                record = {"epoch": done // per_epoch, "lr": rate, **{k: v.item() for k, v in means.items()}}
                history.append(record)
                if board:
                    board(record)
                bar.clear()
                _log_epoch(record, recipe, (done - begun) * recipe.batch / (time.perf_counter() - started))
                sums, started, begun = {}, time.perf_counter(), done
            if keeper is None:
                continue
            asked.number, due = _agree(accelerator, asked.number, done < iterations and keeper.due())
            if asked.number or due:
                state = resume.collect(accelerator, student, optimizer, schedule, sums, done=done, history=history)
                if accelerator.is_main_process:
                    keeper.save(state)
            if asked.number:
                log.info("asked to stop after iteration %d of %d", done, iterations)
                break
    return history


def _agree(accelerator: Accelerator, number: int, due: bool) -> tuple[int, bool]:
    """The signal that any process got, and whether the main one finds a state due: the same answer in all of them."""
    if accelerator.num_processes == 1:
        return number, due
    said = accelerator.gather(torch.tensor([[number, due and accelerator.is_main_process]], device=accelerator.device))
    number, due = said.amax(0).tolist()
    return number, bool(due)


class _Task(NamedTuple):
    dataset: str
    pictures: list[Picture]
    names: tuple[str, ...]
    order: tuple[int, ...]
    sizes: tuple[int, ...]


def _task(inputs: Inputs, step: int) -> _Task:
    """Pictures of the step, class names, and labels and classes per step learned after it."""
    data, index, tasks = inputs
    table, content = index_file.read(index), tasks_file.read(tasks)
    if not 0 <= step < len(content["steps"]):
        raise InputError(f"{tasks}: has steps 0..{len(content['steps']) - 1}, no step {step}")
    steps = content["steps"][: step + 1]
    order = tuple(label for each in steps for label in each["classes"])
    sizes = tuple(len(each["classes"]) for each in steps)
    by_id = {row.id: row for row in table.of("train")}
    visible = tasks_file.visible_labels(content["setting"], order, sizes)
    ids = classes.value_to_id(table.stored, order, visible, rest=0)
    spoken = classes.ids_of(order, visible)
    try:
        rows = [by_id[id] for id in steps[-1]["train"]]
    except KeyError as error:
        raise InputError(f"{tasks}: picture {error} is not in the train split of {index}") from None
    pictures = [Picture(row.id, data / row.image, data / row.mask, table.encoding, ids, spoken) for row in rows]
    return _Task(content["dataset"], pictures, table.class_names, order, sizes)


def _replayed(folder: Path, replay: str | None, inputs: Inputs, task: _Task) -> list[Picture]:
    """Exemplars as pictures; their labels speak of the classes that `replay` says (`dkd.methods.dkd_m`)."""
    data, index, tasks = inputs
    table, content = index_file.read(index), tasks_file.read(tasks)
    rows = {row.id: row for row in table.of("train")}
    order = task.order
    pictures = []
    for exemplar in memory_file.read(folder, content, len(task.sizes) - 1):
        if (row := rows.get(exemplar.id)) is None:
            raise InputError(f"{tasks}: picture {exemplar.id!r} is not in the train split of {index}")
        sizes = task.sizes[: exemplar.step + 1]
        labels = tasks_file.visible_labels(content["setting"], order[: sum(sizes)], sizes)
        mask, stored, encoding = data / row.mask, table.stored, table.encoding
        if replay == "current":
            labels = order[-task.sizes[-1] :]
        elif replay == "pseudo":
            mask, labels, stored = folder / memory_file.MASKS / f"{row.id}.png", order[: -task.sizes[-1]], {}
            encoding = encoding._replace(values=frozenset({0, classes.VOID, *labels}), colours={})
        elif replay != "stored":
            raise InputError(f"replay: expected current, stored or pseudo, got {replay!r}")
        spoken = classes.ids_of(order, labels)
        ids = classes.value_to_id(stored, order, labels, rest=0)
        pictures.append(Picture(f"{row.id} again", data / row.image, mask, encoding, ids, spoken))
    return pictures


def _check_finite(
    recent: list[tuple[int, Tensor]], names: Iterable[str], step: int, per_epoch: int, keeper: resume.Keeper | None
) -> None:
    """`recent` holds the iteration and the losses, by `names`, of each micro-batch since the last look."""
    values = torch.stack([losses for _, losses in recent]).cpu()
    bad = (~values.isfinite()).any(dim=1).nonzero()
    if not len(bad):
        return
    position = int(bad[0])
    iteration = recent[position][0]
    terms = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values[position].tolist(), strict=True))
    kept = (
        f"; the state of iteration {keeper.kept} stays in {keeper.file}" if keeper and keeper.kept is not None else ""
    )
    raise InputError(
        f"step {step}, epoch {(iteration - 1) // per_epoch + 1}, iteration {iteration}: loss is not finite ({terms}); "
        f"lower the learning rate or use fp32{kept}"
    )


def _log_epoch(record: dict[str, float], recipe: Recipe, speed: float) -> None:
    named = {k: v for k, v in record.items() if k not in ("epoch", "lr", "total") and not k.endswith("_kl")}
    terms = " ".join(f"{k} {v:.4f}" for k, v in named.items())
    epochs = recipe.epochs
    log.info("epoch %d/%d loss %.4f (%s) %.0f images/s", record["epoch"], epochs, record["total"], terms, speed)


def _board(folder: Path) -> Callable[[dict[str, float]], None]:
    """What writes an epoch's record for TensorBoard, one curve for each of its values."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("TensorBoard is not installed: pip install 'dkd[tensorboard]', or leave it out") from None
    folder.mkdir(parents=True, exist_ok=True)

    def write(record: dict[str, float]) -> None:
        # One file per epoch: a training that goes on, maybe elsewhere, has none open to find.
        with SummaryWriter(str(folder), purge_step=int(record["epoch"])) as file:
            for name, value in record.items():
                if name != "epoch":
                    file.add_scalar(name, value, int(record["epoch"]))

    return write


def _write_history(history: list[dict[str, float]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(history[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(history)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
