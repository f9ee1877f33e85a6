"""Logit distillation without decomposition: mBCE + KD (the paper's ablation without DKD and AC).

The student's logits of the previous classes are distilled from the teacher's, pixel by pixel, upsampled to the crop.
"""

from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output

TEACHER = True
OPTIONS = {"start": ("random", "auxiliary"), "kd": 5.0}


def loss(student: Output, teacher: Output, target: losses.Target, *, kd: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `kd_kl`: the divergence of KD. `kd` is a weight."""
    scores, teacher_logits = student.scores, teacher.scores
    soft = scores[:, : teacher_logits.shape[1]], teacher_logits, student.size
    terms = {
        "mbce": losses.mbce(scores[:, target.first - 1 :], target),
        "kd": losses.soft_bce(*soft),
        "kd_kl": losses.divergence(*soft),
    }
    return terms["mbce"] + kd * terms["kd"], terms
