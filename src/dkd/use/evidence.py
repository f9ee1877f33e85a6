"""Positive and negative evidence for a class, as the network computes it, and its change since an earlier step.

The maps are the terms that the paper distils: z = z+ + z- + bias. Knows nothing of files and figures.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dkd import checkpoint, devices, losses
from dkd.checkpoint import Step
from dkd.data import classes, transforms
from dkd.errors import InputError
from dkd.evaluation import decide
from dkd.model.segmenter import Output, Segmenter, upsample

TERMS = ("z+", "z-", "logit")
SIGMOID = "positive evidence (z+), negative evidence (z-) and logit"
WORDS = {
    "sigmoid": SIGMOID,
    "softmax": f"{SIGMOID}, which decides by its distance to the logits of background and other classes",
    "unknown": f"{SIGMOID}, which decides where it is above those of background and other classes",
}
"""What is shown of a class, by the head of the network."""


class Maps(NamedTuple):
    """One class over an image of H x W pixels."""

    terms: np.ndarray
    """(3, H, W) float32: z+, z- and the logit, which is their sum plus the bias."""
    decision: np.ndarray
    """(H, W) bool: pixels that the network assigns to the class."""


class Grid(NamedTuple):
    """k classes over an image, on a grid of h x w cells."""

    channels: list[int]
    terms: np.ndarray
    """(2, k, h, w) float32: z+ and z-."""
    biases: np.ndarray
    """(k,) float32; what is missing to the logits."""


@torch.no_grad()
def maps(model: Segmenter, image: np.ndarray, channel: int) -> Maps:
    """Terms of the class in `channel` (0..K-1) for RGB pixels (H, W, 3) uint8."""
    [output] = _outputs(image, model)
    decision = decide(output)[0] == classes.channel_to_id(channel)
    return Maps(upsample(terms(output, channel), output.size)[0].cpu().numpy(), decision.cpu().numpy())


@torch.no_grad()
def grid(model: Segmenter, image: np.ndarray, shown: Collection[int], count: int, side: int) -> Grid:
    """z+ and z- of the `count` classes that matter most for RGB pixels (H, W, 3) uint8, averaged over cells.

    These are the classes that most pixels are assigned to, then those whose channels are in `shown` (what the image
    shows), then those with the highest logit anywhere. The grid has at most `side` cells a side.
    """
    [output] = _outputs(image, model)
    positive, negative, logit = all_terms(output)
    pixels = torch.bincount(decide(output).flatten().long(), minlength=256).tolist()
    highest = logit.amax((0, 2, 3)).tolist()

    def rank(channel: int) -> tuple:
        return pixels[classes.channel_to_id(channel)], channel in shown, highest[channel]

    channels = sorted(range(len(highest)), key=rank, reverse=True)[:count]
    scale = min(1.0, side / max(logit.shape[-2:]))
    sides = [max(1, round(scale * length)) for length in logit.shape[-2:]]
    means = torch.cat([F.adaptive_avg_pool2d(each[:, channels].cpu(), sides) for each in (positive, negative)])
    return Grid(channels, means.numpy(), torch.cat(output.biases)[channels].float().cpu().numpy())


def terms(output: Output, channel: int) -> Tensor:
    """(N, 3, h, w): z+, z- and the logit of the class in `channel`, on the grid."""
    return torch.stack([term[:, channel] for term in all_terms(output)], dim=1)


def all_terms(output: Output) -> tuple[Tensor, Tensor, Tensor]:
    """z+, z- and the logit of all classes, (N, K, h, w) each."""
    return *losses.decompose(output.features, torch.cat(output.weights), "weight"), output.scores.float()


@torch.no_grad()
def drift(model: Segmenter, previous: Segmenter, pixels: Iterable[np.ndarray]) -> np.ndarray:
    """Mean absolute change of z+, z- and the logit of every class that `previous` has learned: (classes, 3) float64.

    The mean is taken over all cells of the feature grids of the images, RGB pixels (H, W, 3) uint8; the unit is that
    of the logit.
    """
    known = sum(previous.sizes)
    total, cells = torch.zeros(known, 3, dtype=torch.float64), 0
    for image in pixels:
        now, before = map(all_terms, _outputs(image, model, previous))
        moved = torch.stack([(a[0, :known] - b[0]).abs().sum((1, 2)) for a, b in zip(now, before, strict=True)], dim=1)
        total += moved.double().cpu()
        cells += now[0][0, 0].numel()
    return (total / max(1, cells)).numpy()


def _outputs(image: np.ndarray, *models: Segmenter) -> list[Output]:
    height, width = image.shape[:2]
    with devices.explained(f"an image of {width} x {height} pixels at once; use a CPU, or a smaller image"):
        batch = transforms.normalise(transforms.channels_first(image))[None]
        batch = batch.to(next(models[0].parameters()).device)
        return [model(batch) for model in models]


def channel(step: Step, name: str, folder: Path) -> int:
    """Channel of the class `name`; InputError if the checkpoint in `folder` has not learned it."""
    if name == step.class_names[0] and name not in step.class_names[1:]:
        raise InputError(f"class {name!r} is background, which is not explained; name another class")
    if name not in checkpoint.names(step)[1:]:
        raise InputError(f"{folder} has not learned {name!r}, only {', '.join(checkpoint.names(step)[1:])}")
    [id] = classes.ids_of(step.order, [step.class_names.index(name, 1)])
    return classes.id_to_channel(id)
