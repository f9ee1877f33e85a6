"""What is said and recorded of a training: progress bar, a line per epoch, train.csv and loss.csv."""

import csv
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from torch import Tensor
from tqdm import tqdm

from dkd.training.trackers import Curves

log = logging.getLogger("dkd")

Record = dict[str, float]
"""Of one epoch: its number, the backbone's last learning rate, and the mean of the total and of every named term."""
WINDOW = ("iteration", "epoch", "total")
"""Columns of loss.csv."""
POINTS = 200
"""Most windows that loss.csv has of a step, but for one in every epoch."""


class Progress:
    """While entered, shows a bar in images (if `main`: in the main process); reports the records of epochs.

    `iterations` of `batch` images in `epochs` epochs; `curves` gets every record as well.
    """

    def __init__(
        self,
        step: int,
        epochs: int,
        iterations: int,
        batch: int,
        *,
        main: bool,
        curves: Curves,
    ):
        self.epochs, self.batch, self.curves = epochs, batch, curves
        total, disable = iterations * batch, None if main else True
        self.bar = tqdm(total=total, unit=" images", desc=f"step {step}", leave=False, disable=disable)
        self._since = 0, time.perf_counter()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.close()

    def begin(self, done: int) -> None:
        """Start the clock after `done` iterations."""
        self.bar.update(done * self.batch)
        self.bar.unpause()
        self._since = done, time.perf_counter()

    def advance(self, images: int) -> None:
        """Count images on."""
        self.bar.update(images)

    def epoch(self, record: Record, done: int) -> None:
        """Report an epoch that ended after `done` iterations."""
        self.curves.record(record, done)
        self.bar.clear()
        begun, started = self._since
        self._since = done, time.perf_counter()
        speed = (done - begun) * self.batch / (self._since[1] - started)
        named = {k: v for k, v in record.items() if k not in ("epoch", "lr", "total") and not k.endswith("_kl")}
        terms = " ".join(f"{k} {v:.4f}" for k, v in named.items())
        epochs = f"{record['epoch']}/{self.epochs}"
        log.info("epoch %s loss %.4f (%s) %.0f images/s", epochs, record["total"], terms, speed)


def windows(losses: Tensor, epoch: int, epochs: int) -> list[Record]:
    """The mean loss of equal parts of epoch number `epoch` of `epochs`, as records of loss.csv.

    losses (n,): the total of each of its iterations. A record has the last iteration of its window, what that is in
    epochs, and the mean.
    """
    records, done = [], 0
    for part in losses.cpu().tensor_split(min(len(losses), max(1, POINTS // epochs))):
        done += len(part)
        iteration, passed = (epoch - 1) * len(losses) + done, round(epoch - 1 + done / len(losses), 4)
        records.append(dict(zip(WINDOW, (iteration, passed, part.mean().item()), strict=True)))
    return records


def write_history(history: list[Record], columns: Sequence[str], path: Path) -> None:
    """Write the records of all epochs (train.csv), or of all windows (loss.csv), as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        table.writeheader()
        table.writerows(history)
