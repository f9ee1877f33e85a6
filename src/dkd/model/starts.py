"""What the classifiers of a new step start from, as functions of the weights of earlier ones."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

HEADS = ("sigmoid", "softmax", "unknown")
STARTS = {
    "random": HEADS,
    "normal": HEADS,
    "auxiliary": HEADS,
    "background": ("softmax",),
    "background-row": ("softmax",),
    "unknown": ("unknown",),
}
"""What new classifiers can start from, and for which heads (`Segmenter`).

`random`: torch's default. `normal`: weights with a variance of 2 / inputs (STAR). `auxiliary`: copies of the auxiliary
classifier (DKD). `background`: a share of the background's probability (MiB, PLOP). `background-row`: the background's
weights, and a random bias (RCIL). `unknown`: copies of the classifier of what is unknown (SSUL).
"""


@torch.no_grad()
def from_background(weight: Tensor, bias: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """New classes share the background's probability (MiB, PLOP): what the softmax says of old classes stays.

    weight (D, ...) and bias () are the background's. Returns the weights (classes, D, ...) and biases (classes,) of the
    new ones, and the background's new bias ().
    """
    lowered = bias - math.log(classes + 1)
    return weight.repeat(classes, *[1] * weight.dim()), lowered.repeat(classes), lowered.clone()


@torch.no_grad()
def from_background_row(weight: Tensor, classes: int) -> Tensor:
    """New classes have the background's weight, (D, ...) -> (classes, D, ...) (RCIL); no bias is set."""
    return weight.repeat(classes, *[1] * weight.dim())


@torch.no_grad()
def from_unknown(weight: Tensor, bias: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """New classes have the unknown class's weight (D, ...) and bias () (SSUL) -> (classes, D, ...) and (classes,)."""
    return weight.repeat(classes, *[1] * weight.dim()), bias.repeat(classes)


class Branch(NamedTuple):
    """A convolution and its batch norm, in evaluation; (O, I, ...) and (O,)."""

    kernel: Tensor
    scale: Tensor
    shift: Tensor
    mean: Tensor
    var: Tensor
    bias: Tensor | None = None


@torch.no_grad()
def merge(branches: Sequence[Branch], eps: float) -> tuple[Tensor, Tensor]:
    """Kernel (O, I, ...) and bias (O,) of the one convolution that is the mean of the branches (RCIL).

    The scale of a batch norm counts as |scale| + eps, as in-place ABN has it.
    """
    kernels, biases = [], []
    for kernel, scale, shift, mean, var, bias in branches:
        factor = (scale.abs() + eps) / (var + eps).sqrt()
        kernels.append(kernel * factor.view(-1, *[1] * (kernel.dim() - 1)))
        biases.append(shift + ((0 if bias is None else bias) - mean) * factor)
    return torch.stack(kernels).mean(0), torch.stack(biases).mean(0)
