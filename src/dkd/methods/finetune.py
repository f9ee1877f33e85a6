"""Fine-tuning: mBCE on the new classes alone. The lower bound, without anything against forgetting."""

from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output

TEACHER = False
OPTIONS = {"start": ("random", "auxiliary")}


def loss(student: Output, teacher: None, target: losses.Target) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms."""
    terms = {"mbce": losses.mbce(student.scores[:, target.first - 1 :], target)}
    return terms["mbce"], terms
