"""STAR (Chen et al., NeurIPS 2023): mBCE with replayed features + PKD (paper: OCFM) + contrast (paper: SAD).

Of each class a prototype is kept: the direction and norm of its features, and how they vary. Features drawn from it
stand for the pictures that are gone, and so do background cells of this step, counted more than once. New classes learn
to be none of them. Old features are held where the previous network sees an old class.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from dkd import losses
from dkd.data.classes import VOID
from dkd.errors import InputError
from dkd.losses import Target
from dkd.model.segmenter import Output
from dkd.terms import prototypes
from dkd.terms.prototypes import Prototypes, at_cells

TEACHER = True
OPTIONS = {
    "start": ("normal", "random", "auxiliary"),
    "pkd": 5.0,
    "contrast": 0.05,
    "pos_weight": 4.0,
    "lr_backbone": 1.0,
    "lr_decoder": 10.0,
    "lr_old": 10.0,
    "lr_new": 100.0,
}
LOGIT = 0.5
"""The previous network answers with a class where its logit is above this (as released; a decision is at 0)."""


def prepare(
    batches: Iterable[tuple[Output, Target]], classes: int, *, kept: dict[str, Tensor], setting: str, **_: float
) -> dict[str, Tensor]:
    """What is kept of old classes; how many features of each are drawn per batch, and what a background cell counts.

    Old classes and background that this step's pictures show again are not missing (in `disjoint`, which shows old
    classes nowhere but there, they are added to what is kept instead).
    """
    if kept.keys() != set(Prototypes._fields):
        raise InputError("the previous checkpoint keeps no prototypes; train its step again, with star or as a base")
    old = Prototypes(**kept)
    found, iterations = torch.zeros(len(old.cells) + 1, dtype=torch.float64), 0
    for output, target in batches:
        if output.scores.shape[1] != len(old.cells):
            raise InputError("the previous checkpoint keeps prototypes of other classes than it has learned")
        seen = at_cells(_answers(output, target.labels), output.features.shape[-2:])
        found += torch.bincount(seen[seen != VOID], minlength=len(found)).cpu()
        iterations += 1
    overlap, new = setting != "disjoint", classes - len(old.cells)
    missing = prototypes.fakes(old.cells, found[1:] if overlap else 0, iterations)
    ratio = prototypes.background_ratio(old.background.item(), found[0].item(), new, overlap)
    background = old.background * (1 - 0.01 * new) + found[0] / 2 if overlap else old.background + found[0]
    cells = old.cells if overlap else old.cells + found[1:]
    kept = old._replace(cells=cells, background=background)._asdict()
    return {**kept, "missing": missing, "ratio": torch.tensor(ratio)}


def loss(
    student: Output,
    teacher: Output,
    target: Target,
    *,
    pkd: float,
    contrast: float,
    pos_weight: float,
    **prepared: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total and named terms; `pkd` and `contrast` are weights, `pos_weight` that of positive pixels in mBCE."""
    old, features = _kept(prepared), student.features
    answers = _answers(teacher, target.labels)
    fake = prototypes.draw(old, prepared["missing"]) @ student.weights[-1].T.float() + student.biases[-1].float()
    background = at_cells(answers, features.shape[-2:]) == 0
    again = student.logits[-1].movedim(1, -1)[background]
    own = losses.mbce(student.scores[:, target.first - 1 :], target._replace(pos_weight=pos_weight))
    new = range(len(old.cells) + 1, student.scores.shape[1] + 1)
    region = (answers > 0) & (answers != VOID)
    terms = {
        "mbce": prototypes.replayed(own, fake, again, cells=background.numel(), ratio=prepared["ratio"]),
        "pkd": prototypes.pkd(features, teacher.features, region),
        "contrast": prototypes.contrast(features, target.labels, old.units, new),
    }
    return terms["mbce"] + pkd * terms["pkd"] + contrast * terms["contrast"], terms


def remember(batches: Iterable[tuple[Output, Target]], classes: int, **prepared: Tensor) -> dict[str, Tensor]:
    """What is kept of all classes: of old ones what was, and the new ones' prototypes."""
    old = _kept(prepared)
    pairs = ((output.features, target.labels) for output, target in batches)
    new = prototypes.collect(pairs, range(len(old.cells) + 1, classes + 1))
    both = {name: torch.cat((getattr(old, name), getattr(new, name))) for name in Prototypes._fields[:-1]}
    return {**both, "background": old.background}


def _kept(prepared: dict[str, Tensor]) -> Prototypes:
    return Prototypes(*(prepared[name] for name in Prototypes._fields))


def _answers(teacher: Output, labels: Tensor) -> Tensor:
    """Ids (N, H, W) that the previous network answers with where labels are 0; elsewhere void."""
    answers = prototypes.previous(teacher.scores, labels.shape[-2:], LOGIT)
    return torch.where(labels == 0, answers, VOID)
