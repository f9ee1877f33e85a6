"""Logit distillation without decomposition: mBCE + KD (the paper's ablation without DKD and AC).

The student's logits of the previous classes are held to the teacher's, pixel by pixel, upsampled to the crop.
"""

import torch
from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output, upsample

TEACHER = True
FROM_AUXILIARY = False


def loss(
    student: Output, teacher: Output, labels: Tensor, pos_weight: float, *, kd: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; labels (N, H, W) are ids of the new classes, 0 and 255 elsewhere; `kd` is a weight."""
    *old, new = student.logits
    old, target = torch.cat(old, dim=1), torch.cat(teacher.logits, dim=1)
    terms = {
        "mbce": losses.mbce(upsample(new, student.size), labels, 1 + old.shape[1], pos_weight),
        "kd": losses.soft_bce(upsample(old, student.size), upsample(target, student.size)),
    }
    return terms["mbce"] + kd * terms["kd"], terms
