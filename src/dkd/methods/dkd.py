"""Decomposed knowledge distillation: mBCE + KD + DKD + AC (paper: the whole objective).

Each logit of a previous class is split into what speaks for the class (z+) and what speaks against it (z-); both are
held to the teacher's, on the feature grid (as released). The new classifier starts from the auxiliary one, which goes
on learning that nothing is its own.
"""

import torch
from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output, upsample

TEACHER = True
FROM_AUXILIARY = True


def loss(
    student: Output, teacher: Output, labels: Tensor, pos_weight: float, *, kd: float, dkd: float, ac: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; labels (N, H, W) are ids of the new classes, 0 and 255 elsewhere; kd, dkd, ac weigh."""
    *old, new = student.logits
    old, target = torch.cat(old, dim=1), torch.cat(teacher.logits, dim=1)
    positive, negative = losses.decompose(student.features, torch.cat(student.weights[:-1]))
    teacher_positive, teacher_negative = losses.decompose(teacher.features, torch.cat(teacher.weights))
    terms = {
        "mbce": losses.mbce(upsample(new, student.size), labels, 1 + old.shape[1], pos_weight),
        "kd": losses.soft_bce(upsample(old, student.size), upsample(target, student.size)),
        "dkd_pos": losses.soft_bce(positive, teacher_positive),
        "dkd_neg": losses.soft_bce(negative, teacher_negative),
        "ac": losses.auxiliary(upsample(student.auxiliary, student.size)),
    }
    total = terms["mbce"] + kd * terms["kd"] + dkd * (terms["dkd_pos"] + terms["dkd_neg"]) + ac * terms["ac"]
    return total, terms
