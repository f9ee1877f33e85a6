"""SSUL (Cha et al., NeurIPS 2021) on the network of all methods: BCE on pseudo-labels, and an unknown class.

What is there but has no name yet is unknown, and new classes start from the classifier of that. The network does not
change otherwise: only the new classifier and that of the unknown learn. The previous network's certain answers label
old classes. Without saliency maps, every background pixel is unknown (released: on ADE20K). In SSUL each classifier
begins with a 3x3 convolution of its own; here all share the one of the network.
"""

from torch import Tensor

from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import unknown

HEAD = "unknown"
TEACHER = True
OPTIONS = {
    "start": ("unknown", "random"),
    "threshold": 0.7,
    "lr_backbone": 0.0,
    "lr_decoder": 0.0,
    "lr_old": 0.0,
    "lr_new": 100.0,
}


def loss(student: Output, teacher: Output, target: Target, *, threshold: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `threshold`: sigmoid that a pseudo-label has to reach."""
    labels = unknown.relabel(target.labels, True)
    labels = unknown.pseudo_labels(labels, teacher.channels, threshold)
    terms = {"bce": unknown.bce(student.channels, labels)}
    return terms["bce"], terms
