"""STAR: what is kept of a class when its pictures are gone, how it is replayed, and the terms that hold features.

Foreground channels only: channel k of a classifier is the class of id k + 1. Features (N, D, h, w) are what the
classifiers see. Terms are computed in float32 at least; new classes are learned with `dkd.losses.mbce`.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dkd.precision import full
from dkd.terms import bands


class Sums(NamedTuple):
    """What is added up over the cells of K classes, in float64 on the CPU."""

    cells: Tensor
    """(K,)."""
    units: Tensor
    """(K, D): of unit features."""
    squares: Tensor
    """(K, D): of their squares."""
    norms: Tensor
    """(K,): of the features' norms."""
    norm_squares: Tensor
    """(K,)."""
    background: Tensor
    """(): cells with the label 0."""


class Prototypes(NamedTuple):
    """What is kept of K classes, in float64."""

    units: Tensor
    """(K, D): directions, of norm 1."""
    noise: Tensor
    """(K, D): root mean square of unit feature - direction."""
    means: Tensor
    """(K,): of the features' norms."""
    deviations: Tensor
    """(K,): standard deviations of the features' norms."""
    cells: Tensor
    """(K,): how many there were."""
    background: Tensor
    """(): cells of none of these classes."""


def at_cells(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Of maps (N, H, W), the pixel in the middle of each cell of a grid (h, w) -> (N, h, w)."""
    rows, columns = (
        (2 * torch.arange(cells, device=maps.device) + 1) * pixels // (2 * cells)
        for cells, pixels in zip(grid, maps.shape[-2:], strict=True)
    )
    return maps[:, rows[:, None], columns]


@torch.no_grad()
def sums(features: Tensor, labels: Tensor, ids: Sequence[int]) -> Sums:
    """Sums over one batch of features (N, D, h, w) whose cells have labels (N, h, w); those of batches are added."""
    cells, labels = features.cpu().double().movedim(1, -1), labels.cpu()
    found = []
    for id in ids:
        own = cells[labels == id]
        norms = own.norm(dim=1)
        units = _unit(own, 1)
        count = norms.new_tensor(len(own))
        found.append((count, units.sum(0), units.square().sum(0), norms.sum(), norms.square().sum()))
    return Sums(*(torch.stack(each) for each in zip(*found, strict=True)), (labels == 0).sum())


def prototypes(sums: Sums) -> Prototypes:
    """What is kept of the classes once all batches are added up; a class without cells has zeros."""
    cells, units, squares, norms, norm_squares, background = sums
    directions, count = _unit(units, 1), cells.clamp(min=1)
    noise = (squares - 2 * directions * units + cells[:, None] * directions.square()) / count[:, None]
    variance = (norm_squares - norms.square() / count) / (cells - 1).clamp(min=1)
    noise, deviations = noise.clamp(min=0).sqrt(), variance.clamp(min=0).sqrt()
    return Prototypes(directions, noise, norms / count, deviations, cells, background)


def collect(batches: Iterable[tuple[Tensor, Tensor]], ids: Sequence[int]) -> Prototypes:
    """What is kept of the classes `ids`; batches of features (N, D, h, w) and labels (N, H, W)."""
    every = (sums(features, at_cells(labels, features.shape[-2:]), ids) for features, labels in batches)
    return prototypes(reduce(lambda a, b: Sums(*map(torch.add, a, b)), every))


def fakes(kept: Tensor, found: Tensor | int, iterations: int) -> Tensor:
    """How many fake features of each class an iteration has (K,), int64.

    kept (K,): cells of the class when it was learned; found: those that the teacher finds in this step's pictures, 0 in
    the disjoint setting; iterations: of an epoch.
    """
    return ((kept - found) / iterations).floor().clamp(min=0).long()


@torch.no_grad()
def draw(kept: Prototypes, counts: Tensor) -> Tensor:
    """Fake features (M, D), float32: `counts` (K,) of each class, one class after the other.

    (direction + noise x normal) x normal of the norms' mean and deviation, each value drawn for itself.
    """
    units, noise, means, deviations = (each.float().repeat_interleave(counts, 0) for each in kept[:4])
    direction = units + noise * torch.randn_like(units)
    return direction * (means[:, None] + deviations[:, None] * torch.randn_like(units))


def background_ratio(kept: int, found: int, new: int, overlap: bool) -> float:
    """What each background cell that is seen again counts for.

    kept: background cells when earlier classes were learned; found: those of this step's pictures; new: its classes.
    """
    if not found:
        return 0.0
    return max(0.0, kept * (1 - 0.01 * new) / found - 0.5) if overlap else max(0.0, kept / found)


def replayed(own: Tensor, fake: Tensor, background: Tensor, *, cells: int, ratio: float) -> Tensor:
    """mBCE of the new classes, on the pictures and on what stands for earlier ones. Scalar.

    own: mBCE on the pictures, a mean over pixels and sum over classes; fake (M, K) and background (B, K): logits of the
    new classes for fake features and for background cells, all of which are none of these; cells: N h w of the batch;
    ratio: what a background cell counts for.
    """
    against = F.softplus(full(fake)).sum() + ratio * F.softplus(full(background)).sum()
    return (own + against / cells) / (1 + (len(fake) + ratio * len(background)) / cells)


@torch.no_grad()
def previous(teacher: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Ids (N, H, W) uint8 that the previous network answers with, 0 where no logit exceeds the threshold.

    teacher (N, O, h, w), upsampled.
    """
    upsampled = bands.Upsampled(teacher, size)
    ids = torch.empty((len(teacher), *size), dtype=torch.uint8, device=teacher.device)
    for part in upsampled.parts():
        score, best = upsampled[part].max(1)
        ids[part] = torch.where(score > threshold, best + 1, 0).to(torch.uint8)
    return ids


def pkd(student: Tensor, teacher: Tensor, region: Tensor) -> Tensor:
    """Squared difference of features in a region, mean over the region and channels (paper: OCFM).

    student and teacher (N, D, h, w); region (N, H, W) bool, resized bilinearly to the grid: where labels are 0 and the
    previous network answers with a class. Scalar; 0 where the region is empty.
    """
    student, teacher = full(student), full(teacher.detach())
    share = _resized(region, student)
    area = share.sum() * student.shape[1]
    return ((student - teacher).square() * share[:, None]).sum() / torch.where(area > 0, area, 1)


def contrast(features: Tensor, labels: Tensor, kept: Tensor, ids: Sequence[int]) -> Tensor:
    """Keeps the directions of new classes away from the prototypes of others (paper: SAD).

    features (N, D, h, w); labels (N, H, W); kept (K, D) unit vectors; ids: of the new classes. 1 / distance of each new
    class's direction to the nearest prototype, mean over new classes; one that the batch lacks adds a constant. Scalar.
    """
    units = _unit(full(features), 1)
    total = 0
    for id in ids:
        direction = _unit((units * _resized(labels == id, units)[:, None]).sum((0, 2, 3)), 0)
        total = total + 1 / (direction - kept.to(units)).norm(dim=1).min()
    return total / len(ids)


def _resized(region: Tensor, like: Tensor) -> Tensor:
    """(N, H, W) bool -> (N, h, w)."""
    return F.interpolate(region[:, None].to(like), like.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def _unit(vectors: Tensor, dim: int) -> Tensor:
    """Of norm 1; a vector of zeros stays, with a small gradient."""
    norms = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    return vectors / torch.where(norms > 0, norms, 1)
