"""Real trainings in two processes, started, stopped and killed as a job does it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from dkd.config.schema import Runtime
from dkd.data import shapes
from dkd.errors import InputError
from pipeline import ROOT, launch
from pipeline.rules import CHECKPOINT
from tests.dkd.conftest import SPEC, VALUES, prepare

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    shapes.draw(root / "data", seed=0, size=32, train=24, val=8, objects=(3, 5))
    prepare(root / "data", root)
    return {"data": root / "data", "index": root, "tasks": root}


def own(place):
    """What a job adds to the section `runtime`, with a state saved at every iteration."""
    return {"save_minutes": 0.002, "work": str(place / "work"), "logs": str(place / "logs"), "name": "base"}


@pytest.fixture
def train(inputs, tmp_path):
    """Train a base in two processes, for some epochs; what the stage returns."""

    def train(epochs=2, **recipe):
        (tmp_path / "out").mkdir(exist_ok=True)
        params = {"seed": 0, "model": SPEC, "recipe": {**VALUES, "epochs": epochs, **recipe}}
        runtime = Runtime(device="cpu", processes=2).model_dump(mode="json")
        runtime |= own(tmp_path)
        return launch.run("base", "base", tmp_path / "log", (params, runtime, inputs, tmp_path / "out"), 2)

    return train


def when_saved(tmp_path, act):
    """Do something as soon as there is a state of the training."""

    def wait():
        while not (tmp_path / "work" / "state.pt").exists():
            time.sleep(0.05)
        act()

    threading.Thread(target=wait, daemon=True).start()


def ranks(parent=None):
    """The processes of a training that this process, or another, has started."""
    found = []
    for each in psutil.Process(parent).children():
        with suppress(psutil.Error):
            if each.status() != psutil.STATUS_ZOMBIE and "spawn_main" in str(each.cmdline()):
                found.append(each)
    return found


def test_two_processes_make_one_checkpoint(train, tmp_path, capfd):
    cost = train()
    assert cost["processes"] == 2 and cost["iterations"] == 10
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(CHECKPOINT)
    assert "Traceback" not in capfd.readouterr().err


def test_what_the_user_can_mend_is_said_once(train, capfd):
    with pytest.raises(InputError, match=r"^train\.batch: 3 is not a multiple of 2 processes$"):
        train(batch=3)
    assert "not a multiple" not in capfd.readouterr().err


def test_when_one_dies_the_others_end_and_the_next_run_goes_on(train, tmp_path, capfd):
    when_saved(tmp_path, lambda: ranks()[1].kill())
    with pytest.raises(InputError, match=r"^process 1 of 2 was killed \(SIGKILL\); often for want of memory; the oth"):
        train(epochs=100_000)
    assert not ranks()
    assert "Traceback" not in capfd.readouterr().err


def test_a_stop_saves_in_all_and_the_next_run_goes_on(train, tmp_path):
    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        when_saved(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            train(epochs=10)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not ranks()
    assert train(epochs=10)["resumed_at"] > 0


ORPHAN = """
import json, sys
from pathlib import Path
from dkd.config.schema import Runtime
from pipeline import launch
from tests.dkd.conftest import SPEC, VALUES
from tests.pipeline.test_launch import own
work, inputs = Path(sys.argv[1]), {name: Path(path) for name, path in json.loads(sys.argv[2]).items()}
work.joinpath("out").mkdir()
params = {"seed": 0, "model": SPEC, "recipe": {**VALUES, "epochs": 100_000}}
runtime = Runtime(device="cpu", processes=2).model_dump(mode="json")
runtime |= own(work)
if __name__ == "__main__":
    launch.run("base", "base", work / "log", (params, runtime, inputs, work / "out"), 2)
"""


def test_none_outlives_the_one_that_started_them(inputs, tmp_path):
    command = [sys.executable, "-c", ORPHAN, tmp_path, json.dumps(inputs, default=str)]
    path, found = f"{ROOT}:{ROOT / 'src'}", []
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}) as parent:
        when_saved(tmp_path, lambda: (found.extend(ranks(parent.pid)), parent.kill()))
        parent.wait()
    _, alive = psutil.wait_procs(found, timeout=60)
    assert len(found) == 2 and not alive and Path(tmp_path, "work", "state.pt").exists()
