"""Training on all classes of a task with their labels: mBCE + AC (paper: the objective of the base step).

Step 0 of every method is this on the base classes, so that all methods start from one network; the method `joint` is
this on all classes at once, the upper bound. The auxiliary classifier sees detached features: it changes nothing else
here, and later steps start from it.
"""

from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output

TEACHER = False


def loss(student: Output, teacher: None, target: losses.Target) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms."""
    terms = {
        "mbce": losses.mbce(student.scores, target),
        "ac": losses.auxiliary(student.auxiliary, student.size),
    }
    return terms["mbce"] + terms["ac"], terms
