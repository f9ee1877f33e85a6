"""Curves of a training in TensorBoard, W&B, MLflow or DVCLive, by accelerate's trackers; none is needed.

They write to files, and W&B and MLflow elsewhere where their environment variables say so (WANDB_MODE,
MLFLOW_TRACKING_URI). The step of all curves is the iteration. A resumed training goes on with its curves. Knows no
losses.
"""

import contextlib
import fcntl
import importlib.util
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from accelerate import tracking

from dkd.devices import Runtime
from dkd.errors import InputError, shorten
from dkd.files import replacing

log = logging.getLogger("dkd")
NAMES = ("tensorboard", "wandb", "mlflow", "dvclive")
"""Each is the name of its package, and of the extra that installs it."""
PROJECT = "dkd"
EVERY = 10
"""Iterations between two records of the losses of a single iteration."""
IDS = "trackers.json"


class Curves:
    """Passes records on to trackers. One that fails is left out from then on, with a warning; training continues."""

    def __init__(self, trackers: list[tracking.GeneralTracker]):
        self.trackers = trackers

    def due(self, iteration: int) -> bool:
        """Whether the losses of this iteration are to be recorded."""
        return bool(self.trackers) and iteration % EVERY == 0

    def record(self, values: Mapping[str, float], iteration: int) -> None:
        """One value per curve."""
        self._each(lambda tracker: tracker.log(dict(values), step=iteration))

    def finish(self) -> None:
        """Have everything written."""
        self._each(lambda tracker: tracker.finish())

    def _each(self, act: Any) -> None:
        for tracker in list(self.trackers):
            try:
                act(tracker)
            except Exception as error:
                self.trackers.remove(tracker)
                log.warning("%s gets no more curves of this training: %s", tracker.name, _line(error))


def check(names: tuple[str, ...]) -> None:
    """Raise InputError where a tracker is unknown, or its package is not installed."""
    for name in names:
        if name not in NAMES:
            raise InputError(f"unknown tracker {name!r}; known: {', '.join(NAMES)}")
        if importlib.util.find_spec(name) is None:
            raise InputError(f"the tracker {name} is not installed: pip install 'dkd[{name}]', or leave it out")


@contextlib.contextmanager
def curves(runtime: Runtime, main: bool, facts: Mapping[str, Any], done: int) -> Iterator[Curves]:
    """The curves of a training that is described by `facts` and starts after `done` iterations.

    Only the `main` process writes them. Raises InputError where a tracker does not start.
    """
    ids = _read_ids(runtime.work) if done else {}
    found = Curves([])
    for name in dict.fromkeys(runtime.trackers if main else ()):
        try:
            tracker = STARTS[name](runtime, done, ids)
            found.trackers.append(tracker)
            if name != "tensorboard":
                # TensorBoard would make a second run of it.
                tracker.store_init_configuration(_plain(facts))
        except Exception as error:
            found.finish()
            raise InputError(
                f"the tracker {name} does not start: {_line(error)}; correct that or leave it out"
            ) from None
    if ids and runtime.work:
        with replacing(runtime.work / IDS) as file:
            file.write_text(json.dumps(ids), encoding="utf-8")
    try:
        yield found
    finally:
        found.finish()


def _tensorboard(runtime: Runtime, done: int, ids: dict[str, str]) -> tracking.GeneralTracker:
    folder = runtime.logs / "tensorboard" / runtime.name
    # What was recorded after the state that is resumed is not shown.
    tracker = tracking.TensorBoardTracker("", folder, purge_step=done + 1)
    tracker.start()
    return tracker


def _wandb(runtime: Runtime, done: int, ids: dict[str, str]) -> tracking.GeneralTracker:
    runtime.logs.mkdir(parents=True, exist_ok=True)
    ids.setdefault("wandb", uuid4().hex[:12])
    tracker = tracking.WandBTracker(
        os.environ.get("WANDB_PROJECT", PROJECT),
        mode=os.environ.get("WANDB_MODE", "offline"),
        dir=str(runtime.logs),
        name=runtime.name,
        id=ids["wandb"],
        resume="allow",
    )
    tracker.start()
    return tracker


def _mlflow(runtime: Runtime, done: int, ids: dict[str, str]) -> tracking.GeneralTracker:
    import mlflow

    place, artifacts = (runtime.logs / "mlflow").resolve(), None
    place.mkdir(parents=True, exist_ok=True)
    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
        artifacts = (place / "artifacts").as_uri()
    tracker = tracking.MLflowTracker(PROJECT, artifacts, ids.get("mlflow"), run_name=runtime.name)
    # Jobs that run side by side would make the database and the experiment twice.
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tracker.start()
    ids["mlflow"] = tracker.tracker.info.run_id
    return tracker


def _dvclive(runtime: Runtime, done: int, ids: dict[str, str]) -> tracking.GeneralTracker:
    folder = runtime.logs / "dvclive" / runtime.name
    own = {"report": None, "dvcyaml": None, "save_dvc_exp": False}
    tracker = tracking.DVCLiveTracker(None, dir=str(folder), resume=done > 0, **own)
    tracker.start()
    return tracker


STARTS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow, "dvclive": _dvclive}


def _read_ids(work: Path | None) -> dict[str, str]:
    """The ids under which trackers know the training that is resumed."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((work / IDS).read_text(encoding="utf-8"))) if work else {}
    return {}


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Values that all trackers can hold: numbers and text."""
    return {
        name: value if isinstance(value, int | float | str) else json.dumps(value)
        for name, value in facts.items()
        if value is not None
    }


def _line(error: Exception) -> str:
    return shorten(" ".join(f"{type(error).__name__}: {error}".split()))
