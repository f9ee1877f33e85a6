"""LwF-MC (Rebuffi et al., CVPR 2017: iCaRL without exemplars), as the release of MiB has it: BCE + KD.

Every channel, background among them, learns with a sigmoid; the old ones are also held to the previous network's. The
class with the highest logit is predicted. The base is that of all methods with a softmax.
"""

from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output

HEAD = "softmax"
TEACHER = True
OPTIONS = {"start": ("random", "background"), "kd": 10.0, "lr_factor": 10.0, "train_norms": True}


def loss(student: Output, teacher: Output, target: losses.Target, *, kd: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `kd` is a weight. Both terms are sums over channels and means over all pixels."""
    logits, teacher_logits = student.channels, teacher.channels
    old = logits[:, : teacher_logits.shape[1]]
    every = target._replace(first=0, pos_weight=1.0, void="ignore")
    terms = {
        "bce": losses.mbce(logits, every),
        "kd": losses.soft_bce(old, teacher_logits, student.size),
    }
    return terms["bce"] + kd * terms["kd"], terms
