"""Stops a training whose loss is not finite or has exploded. Knows no loss terms."""

from typing import NamedTuple

import torch
from torch import Tensor

from dkd.errors import InputError
from dkd.training.resume import CheckpointKeeper, State

EXPLODED = 1000.0
"""A loss above this many times that of the first iteration, or this many where that is below 1, has exploded."""


class Losses(NamedTuple):
    """Losses since the last check: the iteration of each micro-batch, and its losses (terms,), the total first."""

    names: tuple[str, ...]
    values: list[tuple[int, Tensor]]


def check(
    losses: Losses, state: State, place: tuple[int, int], precision: str, keeper: CheckpointKeeper | None
) -> None:
    """Raise InputError where a loss is not finite or the total has exploded; remember the first total in `state`.

    `place`: the step, and the iterations of its epochs.
    """
    values = torch.stack([each for _, each in losses.values]).cpu()
    if state.first_loss is None:
        state.first_loss = values[0, 0].item()
    bound = EXPLODED * max(1.0, abs(state.first_loss))
    finite = values.isfinite().all(dim=1)
    bad = (~finite | (values[:, 0].abs() > bound)).nonzero()
    if not len(bad):
        return
    position, (step, per_epoch) = int(bad[0]), place
    iteration = losses.values[position][0]
    named = zip(losses.names, values[position].tolist(), strict=True)
    terms = ", ".join(f"{name} {value:.4g}" for name, value in named)
    fault = "is not finite" if not finite[position] else f"has exploded, from {state.first_loss:.4g} at the start"
    remedy = "lower the learning rate" + (" or use fp32" if precision != "fp32" else "")
    saved = f"; the state of iteration {keeper.kept} is kept in {keeper.file}" if keeper and keeper.kept else ""
    raise InputError(
        f"step {step}, epoch {(iteration - 1) // per_epoch + 1}, iteration {iteration}: loss {fault} ({terms}); "
        f"{remedy}{saved}"
    )
