"""Fine-tuning: the loss of the new classes and nothing else. The lower bound: what happens when nobody remembers."""

from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output

TEACHER = False
OPTIONS = {"start": ("random", "auxiliary")}


def loss(student: Output, teacher: None, target: losses.Target) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms."""
    terms = {"mbce": losses.mbce(student.scores[:, target.first - 1 :], target)}
    return terms["mbce"], terms
