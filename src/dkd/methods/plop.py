"""PLOP (Douillard et al., CVPR 2021): CE on pseudo-labels + local POD, and MiB's start from the background.

Where a pixel is labelled background, the previous network's prediction takes its place, if it is certain enough. POD
holds strips of the backbone's stages, of the classifiers' input and of the logits to those of the previous network.
"""

import math
from collections.abc import Iterable

from torch import Tensor

from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import maps, softmax

HEAD = "softmax"
TEACHER = True
MAPS = ("stages",)
OPTIONS = {
    "start": ("background", "random"),
    "pod": 0.01,
    "pod_logits": 0.0005,
    "median": ("indices", "counts"),
    "lr_factor": 10.0,
    "train_norms": True,
}
LOWEST = 0.001
"""No threshold of pseudo-labels is below this."""
SCALES = (1, 2, 4)
"""Of the squares that POD cuts maps into, each way."""


def prepare(batches: Iterable[tuple[Output, Target]], classes: int, *, median: str, **_: float) -> dict[str, Tensor]:
    """Per class, the uncertainty below which a prediction is a pseudo-label: the median over background pixels.

    `median`: as released (`indices`) or the exact one (`counts`); `softmax.thresholds` says how they differ.
    """
    counts = sum(softmax.histogram(output.channels, target.labels, classes + 1) for output, target in batches)
    return {"thresholds": softmax.thresholds(counts, median, LOWEST)}


def loss(
    student: Output,
    teacher: Output,
    target: Target,
    *,
    pod: float,
    pod_logits: float,
    median: str,
    thresholds: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `pod` and `pod_logits` are the factors of POD on maps and on logits."""
    logits, teacher_logits = student.channels, teacher.channels
    all_classes, old = logits.shape[1], teacher_logits.shape[1]
    labels, share = softmax.pseudo_labels(teacher_logits, target.labels, thresholds)
    growth = math.sqrt(all_classes / (all_classes - old))
    levels = [*student.stages, student.features, maps.fold(logits, old)]
    teacher_levels = [*teacher.stages, teacher.features, teacher_logits]
    factors = [growth * pod] * (len(levels) - 1) + [growth * pod_logits]
    terms = {
        "ce": softmax.cross_entropy(logits, labels, old=1, weight=share[:, None, None]),
        "pod": maps.pod(levels, teacher_levels, factors, SCALES),
    }
    return terms["ce"] + terms["pod"], terms
