"""Training on all classes of a task and background with a softmax: cross-entropy alone (the base of MiB, PLOP, ...).

Step 0 of every method with a softmax is this on the base classes; the method `joint-softmax` is this on all classes at
once. Void pixels count as 0 in the mean.
"""

from torch import Tensor

from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import softmax

HEAD = "softmax"
TEACHER = False


def loss(student: Output, teacher: None, target: Target) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms."""
    terms = {"ce": softmax.cross_entropy(student.channels, target.labels, old=1, weight=None)}
    return terms["ce"], terms
