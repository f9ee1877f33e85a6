"""The loss terms of the paper as pure functions of tensors.

Know nothing of networks, steps or weights. Every term is a mean over batch and pixels and a sum over classes, computed
in float32 at least, whatever the precision of its input (float64 stays float64).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def mbce(logits: Tensor, labels: Tensor, first: int, pos_weight: float) -> Tensor:
    """Modified binary cross-entropy on the classes of the current step (paper: mBCE).

    logits (N, K, H, W) of the ids first..first+K-1; labels (N, H, W) integer ids, where every other id, background and
    void alike, says "not this class" (as released). Positives weigh `pos_weight` (gamma). Scalar.
    """
    logits = _full(logits)
    ids = torch.arange(first, first + logits.shape[1], device=logits.device)
    target = (labels[:, None] == ids[:, None, None]).to(logits)
    weight = torch.as_tensor(pos_weight, dtype=logits.dtype, device=logits.device)
    terms = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")
    return terms.mean((0, 2, 3)).sum()


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


def decompose(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """What speaks for and against each class: z = z+ + z- + bias (paper: decomposition of a logit).

    features (N, D, h, w), not negative; weight (K, D) -> z+ and z-, each (N, K, h, w). The sign is taken of the weight
    (as released); with features that are not negative that is the sign of each product (as the paper writes it).
    """
    features, weight = _full(features), _full(weight)
    kernels = weight.clamp(min=0), weight.clamp(max=0)
    positive, negative = (F.conv2d(features, kernel[..., None, None]) for kernel in kernels)
    return positive, negative
