"""Decomposed knowledge distillation: mBCE + KD + DKD + AC (paper: the whole objective).

Each logit of a previous class is split into what speaks for the class (z+) and what speaks against it (z-); both are
held to the teacher's. The auxiliary classifier, which a new classifier starts from, goes on learning that nothing is
its own.
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
    decomposition: str = "weight",
    resolution: str = "grid",
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms, with what the soft ones are above their least value (`_kl`); kd, dkd, ac weigh.

    The sign that decomposes is that of the `weight` (released) or of the `product` (paper); DKD is on the feature
    `grid` (released) or at `full` resolution (paper).
    """
    scores, taught = student.scores, teacher.scores
    previous = taught.shape[1]
    ours = losses.decompose(student.features, torch.cat(student.weights)[:previous], decomposition)
    theirs = losses.decompose(teacher.features, torch.cat(teacher.weights), decomposition)
    parts = student.size if resolution == "full" else student.features.shape[-2:]
    soft = {
        "kd": (scores[:, :previous], taught, student.size),
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
