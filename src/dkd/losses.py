"""The loss terms of the paper as functions of tensors.

Know nothing of networks, steps or weights. Every term is a mean over batch and pixels and a sum over classes, computed
in float32 at least, whatever the precision of its input (float64 stays float64). A pixel that says nothing of a class
counts as 0 in its mean, so that a batch gives the same in parts as in one piece.

Logits come on the grid of the features, (N, K, h, w), and are meant at full size (H, W), upsampled bilinearly. They are
never all there at that size: a term walks over a few classes at a time, forms the loss and its gradient together
(BCE(x, t) = softplus(x) - x t has the gradient sigmoid(x) - t) and takes the gradient back to the grid.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dkd import bilinear
from dkd.data.classes import VOID

LATTICE = 4
"""Of the pixels at full size, `divergence` looks at every fourth one of every fourth row."""


class Target(NamedTuple):
    """What the labels of a batch say."""

    labels: Tensor
    """(N, H, W) integer ids; 0 = none of the classes that labels speak of, 255 = void."""
    first: int
    """First id that labels speak of; pixels of the ids below it are labelled 0, like all that is unknown."""
    pos_weight: float
    """Weight of a pixel of a class in that class's own term (paper: gamma)."""
    void: str = "negative"
    """Void pixels say "none of these" (`negative`, as released) or nothing (`ignore`)."""
    visible: Tensor | None = None
    """(N, K) bool: of which ids `first`, `first` + 1, ... the labels of each picture speak; None = of all."""


Pointwise = Callable[[Tensor, slice, Tensor, Tensor], None]
"""Logits at full size (k, N, H, W) of a slice of the classes; the loss of each value and its derivative go into the
last two.
"""


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _Walk(torch.autograd.Function):
    """Sum of a pointwise loss over upsampled logits, a few classes at a time; the gradient is formed on the way."""

    @staticmethod
    def forward(ctx, logits: Tensor, size: tuple[int, int], pointwise: Pointwise) -> Tensor:
        """logits (N, K, h, w) -> scalar."""
        grid = logits.transpose(0, 1)
        resize = bilinear.Resize(grid.shape[-2:], size, logits)
        gradient = torch.empty_like(grid) if ctx.needs_input_grad[0] else None
        total = torch.zeros((), dtype=torch.float64, device=logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            shape = (grid.shape[1], *size)
            memory = [bilinear.planes(len(grid), shape, logits) for _ in range(3)]
            for part in bilinear.chunks(len(grid), math.prod(shape), logits.device):
                x, loss, slope = (planes[: part.stop - part.start] for planes in memory)
                pointwise(resize.up(grid[part], x), part, loss, slope)
                total += loss.sum()
                if gradient is not None:
                    gradient[part] = resize.down(slope)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total.to(logits)

    @staticmethod
    @once_differentiable
    def backward(ctx, factor: Tensor):
        """Gradient on the grid."""
        (gradient,) = ctx.saved_tensors
        return (factor * gradient).transpose(0, 1), None, None


def mbce(logits: Tensor, target: Target) -> Tensor:
    """Modified binary cross-entropy on the classes that labels speak of (paper: mBCE).

    logits (N, K, h, w) of the ids `target.first`, `target.first` + 1, ..., upsampled to the labels' size. Every other
    label says "not this class"; pixels whose labels do not speak of a class count as 0 in its mean. Scalar.
    """
    labels, weight = target.labels.flatten(), target.pos_weight
    pixels = labels.numel()
    # Each pixel speaks for one class at most: it is that value which differs from "not this class", and no other.
    order = labels.argsort()
    starts = [0, *torch.bincount(labels, minlength=VOID + 1).cumsum(0).tolist()]
    ids = labels[order]
    void = order[starts[VOID] :] if target.void == "ignore" else None
    spoken = None if target.visible is None else target.visible.T[..., None, None].to(_full(logits))

    def pointwise(x: Tensor, part: slice, loss: Tensor, slope: Tensor) -> None:
        _against(x, loss, slope)
        own = slice(starts[target.first + part.start], starts[target.first + part.stop])
        if own.start < own.stop:
            here = (ids[own].long() - target.first - part.start) * pixels + order[own]
            loss.view(-1)[here] = weight * F.softplus(-x.view(-1)[here])
            slope.view(-1)[here] = weight * (slope.view(-1)[here] - 1)
        if void is not None:
            for map in (loss, slope):
                map.view(len(x), -1).index_fill_(1, void, 0)
        if spoken is not None:
            for map in (loss, slope):
                map.mul_(spoken[part])

    return _Walk.apply(_full(logits), target.labels.shape[-2:], pointwise) / pixels


def soft_bce(logits: Tensor, teacher: Tensor, size: tuple[int, int]) -> Tensor:
    """Binary cross-entropy with the teacher's sigmoid as soft target (paper: KD on logits, DKD on z+ and z-).

    Both (N, K, h, w), logits, upsampled to `size`. Scalar. Its least value is the entropy of the target, not 0.
    """
    taught = _full(teacher.detach()).to(_full(logits)).transpose(0, 1)
    resize = bilinear.Resize(taught.shape[-2:], size, taught)
    memory = bilinear.planes(len(taught), (len(logits), *size), taught)

    def pointwise(x: Tensor, part: slice, loss: Tensor, slope: Tensor) -> None:
        truth = resize.up(taught[part], memory[: len(x)]).sigmoid_()
        _against(x, loss, slope)
        loss.addcmul_(x, truth, value=-1)
        slope.sub_(truth)

    return _Walk.apply(_full(logits), size, pointwise) / (len(logits) * size[0] * size[1])


@torch.no_grad()
def divergence(logits: Tensor, teacher: Tensor, size: tuple[int, int]) -> Tensor:
    """What `soft_bce` is above its least value: a Kullback-Leibler divergence between the two sigmoids.

    Takes what `soft_bce` takes; a mean over a lattice of pixels where these are upsampled. Scalar without gradient, for
    the records only: 0 where the two agree.
    """
    ours, taught = (_full(x.detach()).transpose(0, 1) for x in (logits, teacher))
    stride = 1 if tuple(size) == ours.shape[-2:] else LATTICE
    resize = bilinear.Resize(ours.shape[-2:], size, ours, stride)
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    values = ours.shape[1] * -(-size[0] // stride) * -(-size[1] // stride)
    for part in bilinear.chunks(len(ours), values, logits.device):
        x, y = resize.up(ours[part]), resize.up(taught[part].to(ours))
        total += (F.softplus(x) - F.softplus(y) - (x - y) * y.sigmoid()).sum()
    return (total / values).clamp(min=0).to(ours)


def _against(x: Tensor, loss: Tensor, slope: Tensor) -> None:
    """Loss and derivative where the target is 0."""
    torch.ops.aten.softplus.out(x, 1, 20, out=loss)
    torch.sigmoid(x, out=slope)


def auxiliary(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The auxiliary classifier learns "nothing of this is mine": target 0 on every pixel (paper: AC).

    logits (N, 1, h, w), upsampled to `size`. Scalar.
    """

    return _Walk.apply(_full(logits), size, lambda x, part, *out: _against(x, *out)) / (len(logits) * size[0] * size[1])


def decompose(features: Tensor, weight: Tensor, by: str = "weight") -> tuple[Tensor, Tensor]:
    """What speaks for and against each class: z = z+ + z- + bias (paper: decomposition of a logit).

    features (N, D, h, w); weight (K, D) -> z+ and z-, each (N, K, h, w): the sum of the products f_d w_d whose sign is
    positive, and of those whose sign is negative. `by`: the sign is that of the `weight` (as released) or of the
    `product` (as the paper writes it); the two agree where no feature is negative.
    """
    features, weight = _full(features), _full(weight)
    positive, negative = (kernel[..., None, None] for kernel in (weight.clamp(min=0), weight.clamp(max=0)))
    with torch.autocast(features.device.type, enabled=False):
        if by == "weight":
            return F.conv2d(features, positive), F.conv2d(features, negative)
        above, below = features.clamp(min=0), features.clamp(max=0)
        for_it = F.conv2d(above, positive) + F.conv2d(below, negative)
        against = F.conv2d(above, negative) + F.conv2d(below, positive)
        return for_it, against
