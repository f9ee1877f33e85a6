"""Loss terms that hold the maps between the layers to those of the previous network: ILT, PLOP and RCIL.

A level is a pair of maps (N, C, h, w), student's and teacher's. Every term is a mean over images of a distance of the
two, computed in float32 at least, a few images at a time; the gradient is formed on the way, so that neither squares
nor the teacher's maps are kept for it. Labels play no part.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dkd import bilinear, together
from dkd.precision import full, zero

SIDES = (4, 8, 12, 16, 20, 24)
"""Of the squares over which RCIL's spatial term takes means, in cells."""

Levels = Sequence[Tensor]
"""One map (N, C, h, w) per level."""

Distance = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Two maps (n, C, h, w) -> one distance per image (n,) and the gradient of their sum in the first map."""


def _mean(student: Tensor, teacher: Tensor, distance: Distance) -> Tensor:
    """Mean over images of a distance."""

    def walk(student: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        total = zero(student.device)
        gradient = torch.empty_like(student, dtype=full(student[:0]).dtype) if wanted else None
        with torch.autocast(student.device.type, enabled=False):
            for part in bilinear.chunks(len(student), student[0].numel(), student.device):
                ours = full(student[part])
                found, slope = distance(ours, teacher[part].to(ours))
                total += found.sum()
                if gradient is not None:
                    torch.div(slope, len(student), out=gradient[part])
        return total.to(full(student[:0])) / len(student), gradient

    return together.scalar(student, walk)


Pooling = Callable[[Tensor], Tensor]
"""A linear function of maps (n, C, h, w), image by image -> (n, ...)."""


def _squared(poolings: Sequence[Pooling]) -> Distance:
    """Euclidean distance of two squared maps after a pooling, mean over poolings."""

    def distance(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        difference = (x.square() - y.square()).requires_grad_()
        total, slope = x.new_zeros(len(x)), torch.zeros_like(x)
        for pooling in poolings:
            with torch.enable_grad():
                # A norm's gradient at 0 is 0, where a square root's is not a number.
                found = torch.linalg.vector_norm(pooling(difference).flatten(1), dim=1) / len(poolings)
                (part,) = torch.autograd.grad(found.sum(), difference)
            slope += part
            total += found.detach()
        return total, slope.mul_(x).mul_(2)

    return distance


def _levels(student: Levels, teacher: Levels, factors: Sequence[float], poolings: Sequence[Pooling]) -> Tensor:
    distance = _squared(poolings)
    levels = zip(student, teacher, factors, strict=True)
    return sum(factor * _mean(ours, theirs, distance) for ours, theirs, factor in levels) / len(factors)


def feature(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two maps (N, C, h, w) (ILT: of the backbone's output). Scalar."""

    def distance(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        difference = x - y
        return difference.square().mean((1, 2, 3)), difference.mul_(2 / x[0].numel())

    return _mean(student, teacher, distance)


def fold(logits: Tensor, old: int) -> Tensor:
    """Logits (N, C, h, w) -> (N, old, h, w): those of new classes are added to the background's (PLOP, RCIL).

    `old` counts channels, background included. What is left can be held to the previous network's logits.
    """
    logits = full(logits)
    background = logits[:, :1] + logits[:, old:].sum(1, keepdim=True)
    return torch.cat((background, logits[:, 1:old]), 1)


def strips(maps: Tensor, scales: Sequence[int]) -> Tensor:
    """Means over the rows and over the columns of the squares of square maps (PLOP: local POD).

    maps (N, C, h, h) -> (N, E). A scale s cuts them into s x s squares of h // s cells each way; what is left over is
    dropped.
    """
    found = []
    for scale in scales:
        side = maps.shape[-1] // scale
        cut = maps[..., : scale * side, : scale * side].unflatten(-1, (scale, side)).unflatten(-3, (scale, side))
        # (N, C, square's row, row, square's column, column)
        rows, columns = cut.mean(-1).permute(0, 2, 4, 1, 3), cut.mean(-3).permute(0, 2, 3, 1, 4)
        found.append(torch.stack((rows, columns), 3).flatten(1))
    return torch.cat(found, 1)


def pod(student: Levels, teacher: Levels, factors: Sequence[float], scales: Sequence[int]) -> Tensor:
    """Distance of the `strips` of the squared maps, times the level's factor; mean over levels (PLOP: POD).

    student and teacher: square maps (N, C, h, h), one per level. Scalar; its gradient is 0 where two maps agree.
    """
    return _levels(student, teacher, factors, [lambda maps: strips(maps, scales)])


def spatial(student: Levels, teacher: Levels, factors: Sequence[float]) -> Tensor:
    """Distance of the squared maps after means over squares of `SIDES`, times the level's factor (RCIL: spatial term).

    student and teacher: maps (N, C, h, w), one per level. Squares lie at every cell and reach over the border, where
    the maps count as 0. Mean over sides and levels. Scalar; its gradient is 0 where two maps agree.
    """

    def pooling(side: int) -> Pooling:
        # Two products take about a quarter of the time of `avg_pool2d` on a CPU.
        return lambda maps: _windows(maps.shape[-2], side, maps) @ maps @ _windows(maps.shape[-1], side, maps).T

    return _levels(student, teacher, factors, [pooling(side) for side in SIDES])


def _windows(cells: int, side: int, like: Tensor) -> Tensor:
    """(cells + 1, cells): means over `side` cells in a row, from half of them beyond the one border to the other."""
    starts = torch.arange(cells + 1, device=like.device)[:, None] - side // 2
    offsets = torch.arange(cells, device=like.device) - starts
    return ((offsets >= 0) & (offsets < side)).to(like) / side


def channel(student: Levels, teacher: Levels, factors: Sequence[float]) -> Tensor:
    """Distance of the squared maps after means over 3 channels in a row, times the level's factor (RCIL: channel term).

    student and teacher: maps (N, C, h, w), one per level. Beyond the first and last channel the maps count as 0. Mean
    over levels. Scalar; its gradient is 0 where two maps agree.
    """

    def neighbours(maps: Tensor) -> Tensor:
        padded = F.pad(maps, (0, 0, 0, 0, 1, 1))
        return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3

    return _levels(student, teacher, factors, [neighbours])
