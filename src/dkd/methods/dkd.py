"""Decomposed knowledge distillation: mBCE + KD + DKD + AC (paper: the whole objective).

Each logit of a previous class is split into positive (z+) and negative evidence (z-), and both are distilled from the
teacher. The auxiliary classifier, from which new classifiers are initialised, keeps learning the target 0 everywhere.
"""

import torch
from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output

TEACHER = True
OPTIONS = {
    "start": ("auxiliary", "random"),
    "kd": 5.0,
    "dkd": 5.0,
    "ac": 1.0,
    "decomposition": ("weight", "product"),
    "resolution": ("grid", "full"),
}


def loss(
    student: Output,
    teacher: Output,
    target: losses.Target,
    *,
    kd: float,
    dkd: float,
    ac: float,
    decomposition: str,
    resolution: str,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `_kl`: the divergence of a distillation term. `kd`, `dkd` and `ac` are weights.

    `decomposition`: by the sign of the `weight` (released) or of the `product` (paper). `resolution`: DKD on the
    feature `grid` (released) or at `full` resolution (paper).
    """
    scores, teacher_logits = student.scores, teacher.scores
    previous = teacher_logits.shape[1]
    ours = losses.decompose(student.features, torch.cat(student.weights)[:previous], decomposition)
    theirs = losses.decompose(teacher.features, torch.cat(teacher.weights), decomposition)
    parts = student.size if resolution == "full" else student.features.shape[-2:]
    soft = {
        "kd": (scores[:, :previous], teacher_logits, student.size),
        "dkd_pos": (ours[0], theirs[0], parts),
        "dkd_neg": (ours[1], theirs[1], parts),
    }
    terms = {
        "mbce": losses.mbce(scores[:, target.first - 1 :], target),
        **{name: losses.soft_bce(*pair) for name, pair in soft.items()},
        "ac": losses.auxiliary(student.auxiliary, student.size),
        **{f"{name}_kl": losses.divergence(*pair) for name, pair in soft.items()},
    }
    total = terms["mbce"] + kd * terms["kd"] + dkd * (terms["dkd_pos"] + terms["dkd_neg"]) + ac * terms["ac"]
    return total, terms
