"""The objective of a step: the loss of a micro-batch, what a method prepares for it, and what it remembers.

Knows no optimizer and no order of iterations.
"""

import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dkd import devices, precision
from dkd.data import transforms
from dkd.losses import Target
from dkd.model.segmenter import Output, Segmenter
from dkd.training.data import Batches, Samples
from dkd.training.recipe import Recipe


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
    prepared: dict[str, Tensor]
    """What the method's `prepare` gave, on the CPU."""
    options: dict[str, float | str | Tensor]
    """What the method's loss takes by name: the recipe's options, and `prepared` on the device."""

    def losses(self, network: nn.Module, images: Tensor, labels: Tensor, *visible: Tensor) -> dict[str, Tensor]:
        """The `total` and every named term for a micro-batch: images (n, 3, H, W), uint8 or normalised float32; ids
        (n, H, W) uint8; where images differ in it, which ids from `first` on are labelled, (n, K) bool.
        """
        images, target = self.placed(images, labels, *visible)
        with self.accelerator.autocast():
            output = network(images)
            with torch.no_grad():
                teacher_output = self._teach(self.accelerator.unwrap_model(network), images, output)
        with torch.autocast(images.device.type, enabled=False):
            total, terms = self.method.loss(output, teacher_output, target, **self.options)
        return {"total": total, **terms}

    def _teach(self, student: Segmenter, images: Tensor, output: Output) -> Output | None:
        if self.teacher is None:
            return None
        if self.teacher.backbone is student.backbone:
            return self.teacher.decode(output.backbone, output.size)
        return self.teacher(images)

    def with_prepared(self, prepared: dict[str, Tensor]) -> "Training":
        """The same with what was `prepared`."""
        prepared = {name: tensor.cpu() for name, tensor in prepared.items()}
        on_device = {name: precision.placed(tensor, self.accelerator.device) for name, tensor in prepared.items()}
        return self._replace(prepared=prepared, options={**self.recipe.loss_options, **on_device})

    def placed(self, images: Tensor, labels: Tensor, *visible: Tensor) -> tuple[Tensor, Target]:
        """Normalised images and their labels on the device."""
        device = self.accelerator.device
        images = images.to(device, non_blocking=True)
        images = transforms.normalise(images) if images.dtype == torch.uint8 else images
        labels = labels.to(device, non_blocking=True)
        label_mask = visible[0].to(device) if visible else None
        return images, Target(labels, self.first, self.recipe.pos_weight, self.recipe.void, label_mask)


@torch.no_grad()
def prepare(
    training: Training, samples: Samples, micro: int, workers: int, before: dict[str, Any]
) -> dict[str, Tensor]:
    """What the method's `prepare` makes of the teacher's output for the images of the first epoch; empty without one.

    `before`: what it is told besides its options.
    """
    if training.teacher is None or not hasattr(training.method, "prepare"):
        return {}
    options = {**training.recipe.loss_options, **before}
    # Drawing where the loader's processes start must not change the training.
    with torch.random.fork_rng(devices=[]):
        batches = _outputs(training, training.teacher, samples, micro, workers)
        return training.method.prepare(batches, samples.last, **options)


@torch.no_grad()
def remember(training: Training, student: Segmenter, samples: Samples, micro: int, workers: int) -> dict[str, Tensor]:
    """What the method's `remember` makes of the trained network's output for the same images; empty without one."""
    if not hasattr(training.method, "remember"):
        return {}
    student.eval()
    options = {**training.recipe.loss_options, **training.prepared}
    return training.method.remember(_outputs(training, student, samples, micro, workers), samples.last, **options)


def _outputs(
    training: Training, network: nn.Module, samples: Samples, micro: int, workers: int
) -> Iterator[tuple[Output, Target]]:
    """The output for all images of the first epoch, and their labels.

    Every process looks at all images, so that all have the same tensors, whatever their number.
    """
    batches = Batches(len(samples.samples), samples.recipe, samples.step, micro, 0, 1)
    each = len(batches) // samples.recipe.epochs
    sampler = itertools.islice(batches, each)
    for batch in DataLoader(samples, batch_sampler=sampler, num_workers=workers, worker_init_fn=devices.outlive):
        images, target = training.placed(*batch)
        with training.accelerator.autocast():
            output = network(images)
        yield output, target
