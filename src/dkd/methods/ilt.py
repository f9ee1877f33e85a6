"""ILT (Michieli and Zanuttigh, ICCVW 2019), as the release of MiB has it: CE + KD + features.

As `lwf`, and the backbone's output is held to the previous network's by its mean squared difference.
"""

from torch import Tensor

from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import maps, softmax

HEAD = "softmax"
TEACHER = True
MAPS = ("backbone",)
OPTIONS = {
    "start": ("random", "background"),
    "kd": 100.0,
    "feature": 100.0,
    "lr_factor": 10.0,
    "train_norms": True,
}


def loss(
    student: Output, teacher: Output, target: Target, *, kd: float, feature: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `kd` and `feature` are weights."""
    logits, teacher_logits = student.channels, teacher.channels
    old = logits[:, : teacher_logits.shape[1]]
    terms = {
        "ce": softmax.cross_entropy(logits, target.labels, old=1, weight=None),
        "kd": softmax.distillation(old, teacher_logits, student.size, alpha=1.0, weight=None),
        "feature": maps.feature(student.backbone, teacher.backbone),
    }
    return terms["ce"] + kd * terms["kd"] + feature * terms["feature"], terms
