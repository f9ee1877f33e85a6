"""What a step trains on: its images and the replayed ones, cropped and augmented, in batches.

Knows index, tasks and exemplars; no network. Which crop of which image comes when follows from (seed, step, epoch,
image) alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dkd import seeds
from dkd.data import classes, transforms
from dkd.data import index as index_file
from dkd.data import tasks as tasks_file
from dkd.data.cache import ImageCache
from dkd.data.classes import Encoding
from dkd.data.tasks import Inputs
from dkd.errors import InputError
from dkd.training import exemplars
from dkd.training.recipe import Recipe


class Sample(NamedTuple):
    """An image to train on, and which of its labels are used."""

    id: str
    """Seeds its crops; a replayed image has another id than the same image in the task of its step."""
    image: Path
    mask: Path
    encoding: Encoding
    """How the mask stores labels."""
    table: np.ndarray
    """(256,) uint8: from stored values of the mask to ids."""
    visible: tuple[int, ...]
    """Ids that are labelled; pixels of all others are 0."""


class Task(NamedTuple):
    """What a step learns."""

    dataset: str
    class_names: tuple[str, ...]
    """Of all labels, background first."""
    order: tuple[int, ...]
    """Labels of the classes learned up to this step."""
    sizes: tuple[int, ...]
    """Classes per step up to this one."""
    setting: str
    samples: list[Sample]
    """The training images of the step."""

    @property
    def new(self) -> tuple[int, ...]:
        """Labels of the classes of this step."""
        return self.order[-self.sizes[-1] :]


def read_task(inputs: Inputs, step: int) -> Task:
    """The task of a step; InputError where there is no such step, or the index lacks one of its images."""
    table, content = tasks_file.read_both(inputs)
    if not 0 <= step < len(content["steps"]):
        raise InputError(f"{inputs.tasks}: has steps 0..{len(content['steps']) - 1}, no step {step}")
    steps = content["steps"][: step + 1]
    order = tuple(label for each in steps for label in each["classes"])
    sizes = tuple(len(each["classes"]) for each in steps)
    labels = tasks_file.visible_labels(content["setting"], order, sizes)
    ids, visible = classes.value_to_id(table.stored, order, labels, rest=0), classes.ids_of(order, labels)
    rows = _rows(steps[-1]["train"], table, inputs)
    data, encoding = inputs.data, table.encoding
    samples = [Sample(row.id, data / row.image, data / row.mask, encoding, ids, visible) for row in rows]
    return Task(content["dataset"], table.class_names, order, sizes, content["setting"], samples)


def read_replayed(folder: Path, replay: str | None, inputs: Inputs, task: Task) -> list[Sample]:
    """The exemplars in `folder` as samples of `task`, with the labels that `replay` names (`dkd.methods.dkd_m`).

    Raises InputError where these are not exemplars for this step, or `replay` is unknown.
    """
    table, content = tasks_file.read_both(inputs)
    order, samples = task.order, []
    kept = exemplars.read(folder, content, len(task.sizes) - 1)
    for exemplar, row in zip(kept, _rows([each.id for each in kept], table, inputs), strict=True):
        mask, stored, encoding = inputs.data / row.mask, table.stored, table.encoding
        if replay == "current":
            labels = task.new
        elif replay == "stored":
            sizes = task.sizes[: exemplar.step + 1]
            labels = tasks_file.visible_labels(content["setting"], order[: sum(sizes)], sizes)
        elif replay == "pseudo":
            labels = order[: -len(task.new)]
            mask, stored = folder / exemplars.MASKS / f"{row.id}.png", {}
            encoding = Encoding(frozenset(classes.known_values({}, len(table.class_names))), {})
        else:
            raise InputError(f"replay: expected current, stored or pseudo, got {replay!r}")
        ids, visible = classes.value_to_id(stored, order, labels, rest=0), classes.ids_of(order, labels)
        samples.append(Sample(f"{row.id} again", inputs.data / row.image, mask, encoding, ids, visible))
    return samples


def _rows(ids: Sequence[str], table: index_file.Index, inputs: Inputs) -> list[index_file.Row]:
    rows = {row.id: row for row in table.of("train")}
    try:
        return [rows[id] for id in ids]
    except KeyError as error:
        raise InputError(f"{inputs.tasks}: image {error} is not in the train split of {inputs.index}") from None


class Samples(Dataset):
    """Training crops of a step by (epoch, position); `cache` MB of decoded images are kept."""

    def __init__(self, samples: list[Sample], recipe: Recipe, step: int, cache: int):
        self.samples, self.recipe, self.step = samples, recipe, step
        self.files = ImageCache([(sample.image, sample.mask, sample.encoding) for sample in samples], cache)
        self.first, self.last = min(min(x.visible) for x in samples), max(max(x.visible) for x in samples)
        """First and last id that is labelled in any image."""
        self.uniform = len({sample.visible for sample in samples}) == 1

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, ...]:
        """Image (3, crop, crop) and ids (crop, crop), both uint8.

        Where samples differ in it also which of the ids first..last are labelled, (last - first + 1,) bool.
        """
        epoch, position = item
        sample, recipe = self.samples[position], self.recipe
        image, mask = self.files[position]
        crop = transforms.train_sample(
            image,
            mask,
            sample.table,
            seed=seeds.derive(recipe.seed, self.step, epoch, sample.id),
            crop=recipe.crop,
            scale=recipe.scale,
            ratio=recipe.ratio,
            flip=recipe.flip,
        )
        if self.uniform:
            return crop
        visible = torch.zeros(self.last - self.first + 1, dtype=torch.bool)
        visible[[id - self.first for id in sample.visible]] = True
        return *crop, visible


class Batches:
    """(epoch, position) of every micro-batch of one process: a new order per epoch, incomplete batches dropped."""

    def __init__(self, samples: int, recipe: Recipe, step: int, micro: int, rank: int, ranks: int):
        self.samples, self.recipe, self.step = samples, recipe, step
        self.micro, self.rank, self.ranks = micro, rank, ranks

    def __len__(self) -> int:
        share = self.recipe.batch // self.ranks
        return self.recipe.epochs * (self.samples // self.recipe.batch) * (share // self.micro)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batch, share = self.recipe.batch, self.recipe.batch // self.ranks
        for epoch in range(self.recipe.epochs):
            generator = torch.Generator().manual_seed(seeds.derive(self.recipe.seed, self.step, epoch))
            order = torch.randperm(self.samples, generator=generator).tolist()
            for start in range(0, self.samples - batch + 1, batch):
                own = order[start + self.rank * share : start + (self.rank + 1) * share]
                for i in range(0, share, self.micro):
                    yield [(epoch, position) for position in own[i : i + self.micro]]


def micro_batch(batch: int, ranks: int, most: int | None) -> int:
    """Images per forward pass of one process: the largest divisor of its share of `batch` that is at most `most`."""
    if batch % ranks:
        raise InputError(f"train.batch: {batch} is not a multiple of {ranks} processes")
    share = batch // ranks
    return max(n for n in range(1, share + 1) if share % n == 0 and n <= (most or share))
