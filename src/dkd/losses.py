"""The loss terms of the paper as functions of tensors.

Knows nothing of networks, steps or loss weights. Every term is a mean over batch and pixels and a sum over classes,
computed in float32 at least, whatever the precision of its input (float64 stays float64). A pixel that is unlabelled
for a class counts as 0 in the mean, so that a batch gives the same in micro-batches as in one piece.

Logits come on the feature grid, (N, K, h, w); the loss is that of the bilinearly upsampled logits (N, K, H, W). These
never exist as a whole: a term processes a few classes at a time, forms the loss and its gradient together
(BCE(x, t) = softplus(x) - x t has the gradient sigmoid(x) - t) and maps the gradient back to the grid. On a GPU,
`dkd.fused` does the same in one kernel where it can.
"""

import functools
import importlib.util
import math
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dkd import bilinear, together
from dkd.data.classes import VOID
from dkd.precision import full, zero

STRIDE = 4
"""`divergence` samples every fourth pixel of every fourth row."""
GROUP = 32
"""So many values have one logarithm: their product is at least 2^-32."""


class Target(NamedTuple):
    """The labels of a batch."""

    labels: Tensor
    """(N, H, W) integer ids; 0 = none of the labelled classes, 255 = void."""
    first: int
    """First labelled id; pixels of the ids below it are labelled 0, like background and classes to come."""
    pos_weight: float
    """Weight of positive pixels in a class's own term (paper: gamma)."""
    void: str
    """Void pixels are `negative` for all classes (as released) or `ignore`d."""
    visible: Tensor | None
    """(N, K) bool: which of the ids `first`, `first` + 1, ... are labelled in each image; None = all."""


Pointwise = Callable[[Tensor, slice, Tensor, Tensor], Tensor]
"""Takes logits (k, N, H, W) of a slice of the classes; writes each value's derivative into the third argument; returns
the sum of the loss. May overwrite the logits, and the last argument, memory of the same shape.
"""


@functools.cache
def _kernel(device: torch.device) -> ModuleType | None:
    """`dkd.fused`, where a device is a GPU on which it works."""
    if device.type != "cuda" or not importlib.util.find_spec("triton"):
        return None
    from dkd import fused

    return fused if fused.works(device) else None


def _upsampled_sum(
    logits: Tensor, size: tuple[int, int], pointwise: Callable[[], Pointwise], **work: Tensor | float | str | None
) -> Tensor:
    """Sum of a pointwise loss over logits (N, K, h, w) upsampled to `size`. Scalar.

    Computed a few classes at a time; by one kernel, which `work` tells the same, on a GPU where that fits.
    """
    logits, size = full(logits), tuple(size)
    kernel = _kernel(logits.device)
    if kernel and kernel.fits(logits, size):
        return together.scalar(logits, lambda x, _: kernel.total_and_gradient(x, size, **work))
    given = pointwise()
    return together.scalar(logits, lambda x, wanted: _walk(x, size, given, wanted))


def _walk(logits: Tensor, size: tuple[int, int], pointwise: Pointwise, wanted: bool) -> tuple[Tensor, Tensor | None]:
    grid = logits.transpose(0, 1)
    resize = bilinear.Resize(grid.shape[-2:], size, logits, stride=1)
    gradient = torch.empty_like(grid) if wanted else None
    total = zero(logits.device)
    with torch.autocast(logits.device.type, enabled=False):
        shape = (grid.shape[1], *size)
        buffers = [bilinear.planes(len(grid), shape, logits, logits.dtype) for _ in range(3)]
        for part in bilinear.chunks(len(grid), math.prod(shape), logits.device):
            x, grad, free = (planes[: part.stop - part.start] for planes in buffers)
            total += pointwise(resize.up(grid[part], x), part, grad, free)
            if gradient is not None:
                gradient[part] = resize.down(grad)
    return total.to(logits), None if gradient is None else gradient.transpose(0, 1)


def mbce(logits: Tensor, target: Target) -> Tensor:
    """Modified binary cross-entropy on the labelled classes (paper: mBCE).

    logits (N, K, h, w) of the ids `target.first`, `target.first` + 1, ..., upsampled to the labels' size. For a class,
    every other label is negative; where the class is not labelled, pixels count as 0 in its mean. Scalar.
    """
    total = _upsampled_sum(logits, target.labels.shape[-2:], lambda: _labelled(target), **target._asdict())
    return total / target.labels.numel()


def _labelled(target: Target) -> Pointwise:
    labels, weight = target.labels.flatten(), target.pos_weight
    pixels = labels.numel()
    # Each pixel is positive for one class at most; all its other values are negatives.
    order = labels.argsort()
    starts = [0, *torch.bincount(labels, minlength=VOID + 1).cumsum(0).tolist()]
    ids = labels[order]
    void = order[starts[VOID] :] if target.void == "ignore" else None
    label_mask = None if target.visible is None else target.visible.T[..., None, None]

    def pointwise(x: Tensor, part: slice, grad: Tensor, free: Tensor) -> Tensor:
        own = slice(starts[target.first + part.start], starts[target.first + part.stop])
        here = (ids[own].long() - target.first - part.start) * pixels + order[own]
        positive = x.view(-1)[here]
        # What is no negative: a logit of minus infinity has the loss 0, and the derivative 0.
        x.view(-1)[here] = -math.inf
        if void is not None:
            x.view(len(x), -1).index_fill_(1, void, -math.inf)
        if label_mask is not None:
            x.masked_fill_(~label_mask[part], -math.inf)
        total = _negative_bce(x, grad, free)
        counts = weight if label_mask is None else weight * label_mask[part].expand_as(x).reshape(-1)[here]
        grad.view(-1)[here] = counts * (positive.sigmoid() - 1)
        return total + (counts * F.softplus(-positive)).sum()

    return pointwise


def soft_bce(logits: Tensor, teacher: Tensor, size: tuple[int, int]) -> Tensor:
    """Binary cross-entropy with the teacher's sigmoid as soft target (paper: KD on logits, DKD on z+ and z-).

    Both (N, K, h, w), logits, upsampled to `size`. Scalar. Its minimum is the entropy of the target, not 0.
    """
    teacher = full(teacher.detach()).to(full(logits))
    total = _upsampled_sum(logits, size, lambda: _taught(teacher, size), teacher=teacher)
    return total / (len(logits) * size[0] * size[1])


def _taught(teacher: Tensor, size: tuple[int, int]) -> Pointwise:
    grid = teacher.transpose(0, 1)
    resize = bilinear.Resize(grid.shape[-2:], size, grid, stride=1)
    buffer = bilinear.planes(len(grid), (len(teacher), *size), grid, grid.dtype)

    def pointwise(x: Tensor, part: slice, grad: Tensor, free: Tensor) -> Tensor:
        truth = resize.up(grid[part], buffer[: len(x)]).sigmoid_()
        agreed = torch.mul(x, truth, out=free).sum()
        total = _negative_bce(x, grad, free) - agreed
        grad.sub_(truth)
        return total

    return pointwise


@torch.no_grad()
def divergence(logits: Tensor, teacher: Tensor, size: tuple[int, int]) -> Tensor:
    """`soft_bce` less its minimum: the Kullback-Leibler divergence between the two sigmoids.

    Arguments as for `soft_bce`; upsampled logits are sampled at every `STRIDE`-th pixel. Scalar without gradient, for
    records only: 0 where the two agree.
    """
    ours, teacher_logits = (full(x.detach()).transpose(0, 1) for x in (logits, teacher))
    stride = 1 if tuple(size) == ours.shape[-2:] else STRIDE
    resize = bilinear.Resize(ours.shape[-2:], size, ours, stride)
    total = zero(logits.device)
    values = ours.shape[1] * -(-size[0] // stride) * -(-size[1] // stride)
    for part in bilinear.chunks(len(ours), values, logits.device):
        x, y = resize.up(ours[part], None), resize.up(teacher_logits[part].to(ours), None)
        apart, truth, free = x - y, torch.empty_like(y), torch.empty_like(y)
        total -= _negative_bce(y, truth, free) + apart.mul_(truth).sum()
        total += _negative_bce(x, truth, free)
    return (total / values).clamp(min=0).to(ours)


def _negative_bce(x: Tensor, grad: Tensor, free: Tensor) -> Tensor:
    """Sum of the binary cross-entropy with the target 0, softplus(x); writes the derivatives into `grad`.

    Overwrites `x` and `free`. With the sigmoid s, softplus(x) = max(x, 0) - log(max(s, 1 - s)), and a product of values
    from 0.5 to 1 has one logarithm for all of them. The error is some 1e-8 for a value in float32.
    """
    torch.sigmoid(x, out=grad)
    torch.maximum(grad, torch.sub(x.new_ones(()), grad, out=free), out=free)
    values = free.view(-1)
    whole = len(values) // GROUP * GROUP
    logs = values[:whole].view(GROUP, -1).prod(0).log().sum() + values[whole:].log().sum()
    return x.clamp_(min=0).sum() - logs


def auxiliary(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Binary cross-entropy of the auxiliary classifier with the target 0 on every pixel (paper: AC).

    logits (N, 1, h, w), upsampled to `size`. Scalar.
    """
    total = _upsampled_sum(logits, size, lambda: lambda x, part, *rest: _negative_bce(x, *rest))
    return total / (len(logits) * size[0] * size[1])


def decompose(features: Tensor, weight: Tensor, by: str = "weight") -> tuple[Tensor, Tensor]:
    """Positive and negative evidence of each class: z = z+ + z- + bias (paper: decomposition of a logit).

    features (N, D, h, w); weight (K, D) -> z+ and z-, each (N, K, h, w): the sum of the products f_d w_d whose sign is
    positive, and of those whose sign is negative. `by`: the sign is that of the `weight` (as released) or of the
    `product` (as the paper writes it); the two agree where no feature is negative.
    """
    features, weight = full(features), full(weight)
    positive, negative = (kernel[..., None, None] for kernel in (weight.clamp(min=0), weight.clamp(max=0)))
    with torch.autocast(features.device.type, enabled=False):
        if by == "weight":
            return F.conv2d(features, positive), F.conv2d(features, negative)
        above, below = features.clamp(min=0), features.clamp(max=0)
        z_positive = F.conv2d(above, positive) + F.conv2d(below, negative)
        z_negative = F.conv2d(above, negative) + F.conv2d(below, positive)
        return z_positive, z_negative
