"""Two terms of RCIL (Zhang et al., CVPR 2022) on the plain network: MiB's losses + pooled maps. This is not RCIL.

RCIL also has a network of its own, with two branches in each convolution that are merged between steps; that is not
here. Squares of cells, and channels side by side, are held to those of the previous network on average.
"""

import math

from torch import Tensor

from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import maps, softmax

HEAD = "softmax"
TEACHER = True
MAPS = ("activated",)
OPTIONS = {
    "start": ("background-row", "background", "random"),
    "kd": 100.0,
    "pooled": 0.01,
    "pooled_last": 0.0005,
    "lr_factor": 10.0,
    "train_norms": True,
}


def loss(
    student: Output, teacher: Output, target: Target, *, kd: float, pooled: float, pooled_last: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `kd` is a weight, `pooled` the factor of each map, `pooled_last` that of a term's last.

    The last map is that of the logits in the spatial term, the classifiers' input in the channel term.
    """
    logits, teacher_logits = student.channels, teacher.channels
    all_classes, old = logits.shape[1], teacher_logits.shape[1]
    levels, teacher_levels = ([*each.activated, each.features] for each in (student, teacher))
    growth = math.sqrt(all_classes / (all_classes - old))
    factors = [growth * pooled] * (len(levels) - 1) + [growth * pooled_last]
    spatial = [*levels, maps.fold(logits, old)], [*teacher_levels, teacher_logits], [growth * pooled, *factors]
    terms = {
        "ce": softmax.cross_entropy(logits, target.labels, old=old, weight=None),
        "kd": softmax.distillation(logits, teacher_logits, student.size, alpha=1.0, weight=None),
        "spatial": maps.spatial(*spatial),
        "channel": maps.channel(levels, teacher_levels, factors),
    }
    return terms["ce"] + kd * terms["kd"] + terms["spatial"] + terms["channel"], terms
