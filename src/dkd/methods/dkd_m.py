"""DKD with replay (paper: DKD-M): the objective of `dkd`, also on images of earlier steps.

Which images are kept, see `dkd.training.exemplars`. The option `replay` says which of their classes are labelled: those
of the `current` step (as released), those `stored` with the image (of its own step), or these completed by the previous
network's confident predictions (`pseudo`).
"""

from dkd.methods.dkd import TEACHER, loss

__all__ = ["OPTIONS", "TEACHER", "loss"]
OPTIONS = {
    "start": ("auxiliary", "random"),
    "kd": 5.0,
    "dkd": 5.0,
    "ac": 1.0,
    "decomposition": ("weight", "product"),
    "resolution": ("grid", "full"),
    "memory": 100,
    "confidence": 0.9,
    "replay": ("current", "stored", "pseudo"),
}
