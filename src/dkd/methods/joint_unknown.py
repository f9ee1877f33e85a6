"""Training on all classes of a task, with sigmoids for background and what is unknown as well: BCE (the base of SSUL).

Step 0 of `ssul` is this on the base classes; the method `joint-unknown` is this on all classes at once.
"""

from torch import Tensor

from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import unknown

HEAD = "unknown"
TEACHER = False


def loss(student: Output, teacher: None, target: Target) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms. Without saliency maps, every background pixel is unknown (released: on ADE20K)."""
    terms = {"bce": unknown.bce(student.channels, unknown.relabel(target.labels, True))}
    return terms["bce"], terms
