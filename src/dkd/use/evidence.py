"""Positive and negative evidence for a class, as the network computes it, and its change since an earlier step.

The maps are the terms that the paper distils: z = z+ + z- + bias. Knows nothing of files and figures.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dkd import checkpoint, devices, losses
from dkd.checkpoint import Step
from dkd.data import classes, transforms
from dkd.errors import InputError
from dkd.evaluation import decide
from dkd.model.segmenter import Output, Segmenter, upsample

TERMS = ("z+", "z-", "logit")


class Maps(NamedTuple):
    """One class over an image of H x W pixels."""

    terms: np.ndarray
    """(3, H, W) float32: z+, z- and the logit, which is their sum plus the bias."""
    decision: np.ndarray
    """(H, W) bool: pixels that the network assigns to the class."""


@torch.no_grad()
def maps(model: Segmenter, image: np.ndarray, channel: int) -> Maps:
    """Terms of the class in `channel` (0..K-1) for RGB pixels (H, W, 3) uint8."""
    [output] = _outputs(image, model)
    decision = decide(output)[0] == classes.channel_to_id(channel)
    return Maps(upsample(terms(output, channel), output.size)[0].cpu().numpy(), decision.cpu().numpy())


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
