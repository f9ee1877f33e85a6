"""Modeling the background (Cermelli et al., CVPR 2020): unbiased CE + unbiased KD, and a start from the background.

The label background means background or any old class; the previous network's background means background or
any new class. New classifiers share the background's probability, so that nothing changes for the old classes.
"""

from torch import Tensor

from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import softmax

HEAD = "softmax"
TEACHER = True
OPTIONS = {"start": ("background", "random"), "kd": 10.0, "lr_factor": 10.0, "train_norms": True}


def loss(student: Output, teacher: Output, target: Target, *, kd: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `kd` is a weight."""
    logits, teacher_logits = student.channels, teacher.channels
    terms = {
        "ce": softmax.cross_entropy(logits, target.labels, old=teacher_logits.shape[1], weight=None),
        "kd": softmax.distillation(logits, teacher_logits, student.size, alpha=1.0, weight=None),
    }
    return terms["ce"] + kd * terms["kd"], terms
