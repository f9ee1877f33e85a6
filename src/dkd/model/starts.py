"""What the classifiers of a new step start from, as functions of the weights of earlier ones."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


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
def from_unknown(head: Mapping[str, Tensor], last: str, classes: int) -> dict[str, Tensor]:
    """Head of the new classes from that of the unknown class (SSUL): copies, the last layer's row once per class.

    head: state of a head with one output; `last`: name of its last layer, "3" for "3.weight" and "3.bias".
    """
    return {
        name: value.repeat(classes, *[1] * (value.dim() - 1)) if name.startswith(f"{last}.") else value.clone()
        for name, value in head.items()
    }


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
