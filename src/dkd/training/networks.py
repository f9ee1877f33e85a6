"""The networks of a step: the one that is trained, and the previous one as its teacher.

Knows no loss and no images.
"""

from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from dkd import checkpoint, methods
from dkd.data.classes import VOID
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from dkd.training.data import Task
from dkd.training.recipe import Recipe

HEADS = {"sigmoid": "sigmoids", "softmax": "a softmax", "unknown": "sigmoids and an unknown class"}
"""How an error names the kinds of classifiers."""
MOST_WITH_UNKNOWN = VOID - 2
"""Classes whose channels, after those of the unknown class and background, are below void."""


def build_networks(
    method: ModuleType, recipe: Recipe, network: dict | Path, task: Task, device: torch.device
) -> tuple[Segmenter, Segmenter | None]:
    """On `device`, the student, and the teacher if the method needs one. A frozen backbone is the same module in both,
    so that it computes once (`Training.losses`).

    `network`: at the base the values of `model:`, later the checkpoint of the step before. Raises InputError where that
    has learned other classes or has other classifiers than the method's.
    """
    teacher, head, maps = None, methods.head(method), getattr(method, "MAPS", ())
    if head == "unknown" and sum(task.sizes) > MOST_WITH_UNKNOWN:
        words = f"{sum(task.sizes)} classes, but with an unknown class there are at most {MOST_WITH_UNKNOWN}"
        raise InputError(f"{words}; leave some out of the order, or take another method")
    if isinstance(network, dict):
        student = Segmenter(network if head == "sigmoid" else {**network, "head": head}, task.sizes)
        # The path of a file of weights is no part of what was learned.
        student.spec["pretrained"] = bool(network["pretrained"])
    else:
        student, learned = checkpoint.load(network, "cpu")
        _check_previous(network, learned, task)
        if student.head != head:
            name = methods.method_name(method.__name__)
            raise InputError(
                f"{network}: its classifiers were trained with {HEADS[student.head]}, those of {name} are with "
                f"{HEADS[head]}; take a base or a method that fits"
            )
        student.add_head(task.sizes[-1], recipe.head_init)
        if recipe.frozen is not None:
            student.spec["frozen"] = recipe.frozen
        if method.TEACHER:
            teacher = checkpoint.load(network, device)[0].requires_grad_(False)
            teacher.expose(maps)
            still = student.spec.get("frozen") or (recipe.rates.get("backbone") == 0 and not recipe.train_norms)
            if still and not {"stages", "activated"} & set(maps):
                teacher.backbone = student.backbone
                maps = (*maps, "backbone")
    student.expose(maps)
    return student.to(device, memory_format=torch.channels_last), teacher


def _check_previous(folder: Path, learned: checkpoint.Step, task: Task) -> None:
    """Raise InputError unless a checkpoint has learned the steps before this one, by the same names."""
    for label in learned.order:
        theirs = task.class_names[label] if label < len(task.class_names) else None
        if theirs != learned.class_names[label]:
            raise InputError(
                f"{folder}: label {label} is {learned.class_names[label]!r}, but {theirs!r} in the index; name a "
                "checkpoint that was trained on this data set"
            )
    if (learned.order, learned.sizes) != (task.order[: len(learned.order)], task.sizes[:-1]):
        raise InputError(
            f"{folder}: has learned {learned.order} in steps of {learned.sizes}; the tasks file has {task.order} in "
            f"steps of {task.sizes}"
        )


def set_mode(network: nn.Module, student: Segmenter, train_norms: bool) -> None:
    """Put the student, wrapped as `network`, into the mode it is trained in.

    In later steps dropout is off, and batch norms keep their statistics unless they are trained.
    """
    base = len(student.heads) == 1
    network.train(base or train_norms)
    if not base:
        for module in student.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
