"""The state of an unfinished training: what it consists of, and the file from which a killed training is resumed.

Knows nothing of losses or data, nor when a state is saved.
"""

import hashlib
import io
import json
import logging
import time
from dataclasses import dataclass, field
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
EACH = "each iteration"


@dataclass
class State:
    """What changes from one iteration of a training to the next, besides random states."""

    student: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    done: int = 0
    """Iterations so far."""
    history: list[dict[str, float]] = field(default_factory=list)
    """The records of finished epochs."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sums of the losses over the iterations of the current epoch, by name; under EACH the total of each iteration."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """The records of windows of iterations, of finished epochs."""
    first_loss: float | None = None
    """The total of the first micro-batch of all."""


class CheckpointKeeper:
    """Keeps the last good state of one training in `folder`; a new one is due every `minutes`.

    `identity` (JSON) is all that determines the result: a state with another one belongs to another training. `found`
    is the content to resume from; None where there is none, or none that can be used (then with a warning).
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
        """Whether the last save, or the start, is long enough ago."""
        return time.monotonic() >= self._next

    def save(self, content: dict[str, Any]) -> None:
        """Replace the last state, or warn why not; a complete state is on disk at any moment."""
        buffer = io.BytesIO()
        torch.save({**content, "identity": self._identity}, buffer)
        data = buffer.getbuffer()
        try:
            with replacing(self.file) as scratch:
                with scratch.open("wb") as file:
                    file.write(MAGIC + hashlib.sha256(data).hexdigest().encode() + b"\n")
                    file.write(data)
                flush(scratch)
            flush(self.file.parent)
            self.kept = content["done"]
        except OSError as error:
            last = "there is none yet" if self.kept is None else f"that of iteration {self.kept} stays"
            log.warning("%s: state not saved (%s); %s; training continues", self.file, error.strerror, last)
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
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if found["identity"] != self._identity:
            log.warning("%s belongs to another training; the step starts again", self.file)
            return None
        self.kept = found["done"]
        return found


def collect(accelerator: Accelerator, state: State) -> dict[str, Any]:
    """The content of a state file after a whole iteration; all processes call this."""
    device = accelerator.device
    own = {
        "random": torch.get_rng_state(),
        "device_random": None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device),
        "sums": {name: value.cpu() for name, value in state.sums.items()},
    }
    return {
        "done": state.done,
        "history": state.history,
        "curve": state.curve,
        "first_loss": state.first_loss,
        "place": _place(accelerator),
        "model": state.student.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
        "ranks": gather_object([own]) if accelerator.num_processes > 1 else [own],
    }


def restore(content: dict[str, Any], accelerator: Accelerator, state: State) -> None:
    """Put collected content back into `state`, in place.

    On another kind of device or number of processes the random states do not fit and stay as they are, with a warning.
    """
    state.student.load_state_dict(content["model"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.schedule.load_state_dict(content["schedule"])
    if accelerator.scaler is not None and content["scaler"] is not None:
        accelerator.scaler.load_state_dict(content["scaler"])
    ranks = content["ranks"]
    if content["place"] == _place(accelerator):
        own = ranks[accelerator.process_index]
        torch.set_rng_state(own["random"])
        # Earlier versions called it "cuda".
        if (on_device := own.get("device_random", own.get("cuda"))) is not None:
            torch.get_device_module(accelerator.device).set_rng_state(on_device, accelerator.device)
        sums = own["sums"]
    else:
        log.warning(
            "the state was saved by %s, this is %s: continues with other random numbers, so not bit for bit the same",
            content["place"],
            _place(accelerator),
        )
        sums = {name: sum(rank["sums"][name] for rank in ranks) / len(ranks) for name in ranks[0]["sums"]}
    state.done, state.history = content["done"], content["history"]
    # Earlier versions kept none.
    state.curve = content.get("curve", [])
    state.first_loss = content.get("first_loss")
    state.sums = {name: value.to(accelerator.device) for name, value in sums.items()}


def _place(accelerator: Accelerator) -> str:
    return f"{accelerator.num_processes} x {accelerator.device.type}"
