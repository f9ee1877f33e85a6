"""The terms, the decision and the objective in textbook PyTorch: every class at full size, one-hot targets, autograd.

What the fast forms of dkd are compared with, in tests and in benchmarks.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def upsample(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) -> (N, C, H, W), float32 at least."""
    grid = grid.float() if grid.dtype in (torch.float16, torch.bfloat16) else grid
    return F.interpolate(grid, size=size, mode="bilinear", align_corners=False)


def one_hot(labels: Tensor, first: int, classes: int, dtype: torch.dtype) -> Tensor:
    """(N, H, W) -> (N, K, H, W): 1 where the label is the class."""
    ids = torch.arange(first, first + classes, device=labels.device)
    return (labels[:, None] == ids[:, None, None]).to(dtype)


def mbce(logits: Tensor, target) -> Tensor:
    """logits (N, K, H, W)."""
    truth = one_hot(target.labels, target.first, logits.shape[1], logits.dtype)
    weight = torch.tensor(target.pos_weight, dtype=logits.dtype, device=logits.device)
    terms = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight, reduction="none")
    if target.void == "ignore":
        terms = terms * (target.labels != 255)[:, None].to(logits.dtype)
    return terms.mean((0, 2, 3)).sum()


def soft_bce(logits: Tensor, teacher: Tensor) -> Tensor:
    """Both (N, K, H, W)."""
    return F.binary_cross_entropy_with_logits(logits, teacher.sigmoid(), reduction="none").mean((0, 2, 3)).sum()


def auxiliary(logits: Tensor) -> Tensor:
    """logits (N, 1, H, W)."""
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits), reduction="none").mean((0, 2, 3)).sum()


def decompose(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D, h, w), (K, D) -> z+ and z-, by the sign of the weight."""
    features = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    positive, negative = weight.clamp(min=0)[..., None, None], weight.clamp(max=0)[..., None, None]
    return F.conv2d(features, positive), F.conv2d(features, negative)


OPTIONS = {"kd": 5.0, "dkd": 5.0, "ac": 1.0, "decomposition": "weight", "resolution": "grid"}
"""Of `dkd`, as released."""


def dkd(student, teacher, target, *, kd, dkd, ac, decomposition, resolution) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective of `dkd.methods.dkd`."""
    assert (decomposition, resolution) == ("weight", "grid")
    scores, teacher_logits = upsample(student.scores, student.size), upsample(teacher.scores, student.size)
    previous = teacher_logits.shape[1]
    ours = decompose(student.features, torch.cat(student.weights)[:previous])
    theirs = decompose(teacher.features, torch.cat(teacher.weights))
    terms = {
        "mbce": mbce(scores[:, target.first - 1 :], target),
        "kd": soft_bce(scores[:, :previous], teacher_logits),
        "dkd_pos": soft_bce(ours[0], theirs[0]),
        "dkd_neg": soft_bce(ours[1], theirs[1]),
        "ac": auxiliary(upsample(student.auxiliary, student.size)),
    }
    total = terms["mbce"] + kd * terms["kd"] + dkd * (terms["dkd_pos"] + terms["dkd_neg"]) + ac * terms["ac"]
    return total, terms


def predict_labels(logits: Tensor) -> Tensor:
    """Ids (N, H, W) uint8 of logits (N, K, H, W): sigmoid, arg max (the first of equals), background up to 0.5."""
    scores = logits.sigmoid()
    return torch.where((scores > 0.5).sum(1) > 0, scores.argmax(1) + 1, 0).to(torch.uint8)
