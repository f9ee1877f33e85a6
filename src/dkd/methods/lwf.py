"""Learning without forgetting (Li and Hoiem, ECCV 2016), as the release of MiB has it: CE + KD.

The softmax over the old channels alone is distilled. CE is plain: pixels of old classes are labelled background, and
learned as such.
"""

from torch import Tensor

from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import softmax

HEAD = "softmax"
TEACHER = True
OPTIONS = {"start": ("random", "background"), "kd": 100.0, "lr_factor": 10.0, "train_norms": True}


def loss(student: Output, teacher: Output, target: Target, *, kd: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `kd` is a weight."""
    logits, teacher_logits = student.channels, teacher.channels
    old = logits[:, : teacher_logits.shape[1]]
    terms = {
        "ce": softmax.cross_entropy(logits, target.labels, old=1, weight=None),
        "kd": softmax.distillation(old, teacher_logits, student.size, alpha=1.0, weight=None),
    }
    return terms["ce"] + kd * terms["kd"], terms
