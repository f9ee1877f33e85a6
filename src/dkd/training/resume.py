"""The state of an unfinished training: a file from which a killed training goes on.

Knows what of a training changes from one iteration to the next, and how that is written, checked and read; nothing of
what is learned, nor when a state is asked for.
"""

import hashlib
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from dkd.files import flush, replacing

log = logging.getLogger("dkd")
FILE = "state.pt"
MAGIC = b"dkd training state 1 "


class Keeper:
    """Keeps the last good state of one training in `folder`; a new one is due every so many `minutes`.

    `identity` (JSON) is all that the result follows from: a state that has another one is foreign. `found` is the state
    to go on from; None where there is none, or none that can be used, which a line then says.
    """

    def __init__(self, folder: Path, minutes: float, identity: list):
        self.file = folder / FILE
        self.kept: int | None = None
        """The iteration of the last good state."""
        self._identity = json.dumps(identity, sort_keys=True)
        self._period = 60 * minutes
        self._next = time.monotonic() + self._period
        self.found = self._load()

    def due(self) -> bool:
        """Whether the last state, or the start, is long enough ago."""
        return time.monotonic() >= self._next

    def save(self, state: dict[str, Any]) -> None:
        """Put a state in the place of the last one, or say why not; either is whole on disk at any moment."""
        buffer = io.BytesIO()
        torch.save({**state, "identity": self._identity}, buffer)
        content = buffer.getbuffer()
        try:
            with replacing(self.file) as scratch:
                with scratch.open("wb") as file:
                    file.write(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n")
                    file.write(content)
                flush(scratch)
            flush(self.file.parent)
            self.kept = state["done"]
        except OSError as error:
            last = "there is none yet" if self.kept is None else f"that of iteration {self.kept} stays"
            log.warning("%s: state not saved (%s); %s; training goes on", self.file, error.strerror, last)
        self._next = time.monotonic() + self._period

    def _load(self) -> dict[str, Any] | None:
        try:
            head, _, content = self.file.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s: %s; the step starts again", self.file, error.strerror)
            return None
        if head != MAGIC + hashlib.sha256(content).hexdigest().encode():
            log.warning("%s is damaged; the step starts again", self.file)
            return None
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if state["identity"] != self._identity:
            log.warning("%s belongs to another training; the step starts again", self.file)
            return None
        self.kept = state["done"]
        return state


def collect(
    accelerator: Accelerator,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    sums: dict[str, Tensor],
    **rest: Any,
) -> dict[str, Any]:
    """The state after a whole iteration; all processes call this. `rest` is kept as it is and has to hold `done`."""
    cuda = accelerator.device.type == "cuda"
    own = {
        "random": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(accelerator.device) if cuda else None,
        "sums": {name: value.cpu() for name, value in sums.items()},
    }
    return {
        **rest,
        "place": _place(accelerator),
        "model": student.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
        "ranks": gather_object([own]) if accelerator.num_processes > 1 else [own],
    }


def restore(
    state: dict[str, Any],
    accelerator: Accelerator,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> dict[str, Tensor]:
    """Put a collected state back, in place; returns the sums.

    On another kind of device or number of processes the random states do not fit and stay as they are, which a line
    says.
    """
    student.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    if accelerator.scaler is not None and state["scaler"] is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    ranks = state["ranks"]
    if state["place"] == _place(accelerator):
        own = ranks[accelerator.process_index]
        torch.set_rng_state(own["random"])
        if own["cuda"] is not None:
            torch.cuda.set_rng_state(own["cuda"], accelerator.device)
        sums = own["sums"]
    else:
        log.warning(
            "the state was saved by %s, this is %s: goes on with other random numbers, so not bit for bit the same",
            state["place"],
            _place(accelerator),
        )
        sums = {name: sum(rank["sums"][name] for rank in ranks) / len(ranks) for name in ranks[0]["sums"]}
    return {name: value.to(accelerator.device) for name, value in sums.items()}


def _place(accelerator: Accelerator) -> str:
    return f"{accelerator.num_processes} x {accelerator.device.type}"
