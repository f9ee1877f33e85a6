"""Training on all classes of a task with their labels: mBCE + AC (paper: the objective of the base step).

Step 0 of every method is this on the base classes, so that all methods start from one network; the method `joint` is
this on all classes at once, the upper bound. The auxiliary classifier sees detached features: it changes nothing else
here, and later steps start from it. What is remembered of the base classes serves methods that replay features (STAR).
"""

from collections.abc import Iterable

from torch import Tensor

from dkd import losses
from dkd.model.segmenter import Output
from dkd.terms import prototypes

TEACHER = False


def loss(student: Output, teacher: None, target: losses.Target) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms."""
    terms = {
        "mbce": losses.mbce(student.scores, target),
        "ac": losses.auxiliary(student.auxiliary, student.size),
    }
    return terms["mbce"] + terms["ac"], terms


def remember(batches: Iterable[tuple[Output, losses.Target]], classes: int) -> dict[str, Tensor]:
    """Of each class the direction and norm of its features, and how they vary."""
    pairs = ((output.features, target.labels) for output, target in batches)
    return prototypes.collect(pairs, range(1, classes + 1))._asdict()
