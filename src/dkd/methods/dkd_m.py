"""DKD with replay (paper: DKD-M): the objective of `dkd`, with pictures of earlier steps among those of each later one.

Which pictures are kept is the business of `dkd.training.exemplars`; what their labels speak of is the option `replay`:
the classes of the `current` step (as released), those `stored` with the picture, that is of its own step, or these and
the previous network's confident answers (`pseudo`).
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
