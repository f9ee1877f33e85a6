"""The loss terms of the paper as pure functions of tensors.

Know nothing of networks, steps or weights. Every term is a mean over batch and pixels and a sum over classes, computed
in float32 at least, whatever the precision of its input (float64 stays float64).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dkd.scenario import VOID


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


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def mbce(logits: Tensor, target: Target) -> Tensor:
    """Modified binary cross-entropy on the classes that labels speak of (paper: mBCE).

    logits (N, K, H, W) of the ids `target.first`, `target.first` + 1, ... Every other label says "not this class".
    Scalar. Each class's mean is over the pixels whose labels speak of it (0 where there is none).
    """
    logits, labels = _full(logits), target.labels[:, None]
    ids = torch.arange(target.first, target.first + logits.shape[1], device=logits.device)
    truth = (labels == ids[:, None, None]).to(logits)
    weight = torch.as_tensor(target.pos_weight, dtype=logits.dtype, device=logits.device)
    terms = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight, reduction="none")
    if target.void == "negative" and target.visible is None:
        return terms.mean((0, 2, 3)).sum()
    known = (
        torch.ones_like(terms) if target.visible is None else target.visible[..., None, None].to(terms).expand_as(terms)
    )
    if target.void == "ignore":
        known = known * (labels != VOID)
    return ((terms * known).sum((0, 2, 3)) / known.sum((0, 2, 3)).clamp(min=1)).sum()


def soft_bce(logits: Tensor, teacher: Tensor) -> Tensor:
    """Binary cross-entropy with the teacher's sigmoid as soft target (paper: KD on logits, DKD on z+ and z-).

    Both (N, K, H, W), logits. Scalar. Its least value is the entropy of the target, not 0.
    """
    terms = F.binary_cross_entropy_with_logits(_full(logits), _full(teacher).sigmoid(), reduction="none")
    return terms.mean((0, 2, 3)).sum()


def auxiliary(logits: Tensor) -> Tensor:
    """The auxiliary classifier learns "nothing of this is mine": target 0 on every pixel (paper: AC).

    logits (N, 1, H, W). Scalar.
    """
    return F.softplus(_full(logits)).mean((0, 2, 3)).sum()


def decompose(features: Tensor, weight: Tensor, by: str = "weight") -> tuple[Tensor, Tensor]:
    """What speaks for and against each class: z = z+ + z- + bias (paper: decomposition of a logit).

    features (N, D, h, w); weight (K, D) -> z+ and z-, each (N, K, h, w): the sum of the products f_d w_d whose sign is
    positive, and of those whose sign is negative. `by`: the sign is that of the `weight` (as released) or of the
    `product` (as the paper writes it); the two agree where no feature is negative.
    """
    features, weight = _full(features), _full(weight)
    positive, negative = (kernel[..., None, None] for kernel in (weight.clamp(min=0), weight.clamp(max=0)))
    if by == "weight":
        return F.conv2d(features, positive), F.conv2d(features, negative)
    above, below = features.clamp(min=0), features.clamp(max=0)
    for_it = F.conv2d(above, positive) + F.conv2d(below, negative)
    against = F.conv2d(above, negative) + F.conv2d(below, positive)
    return for_it, against
