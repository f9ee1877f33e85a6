"""A small data set, indexed and split."""

from functools import partial

import pytest

from tests.dkd.command import SETTINGS, run

SHAPES = ["--preset", "shapes", *SETTINGS]


@pytest.fixture
def dkd(monkeypatch):
    """Runs `dkd` with the given words; raises CommandError unless it succeeds."""
    return partial(run, monkeypatch)


@pytest.fixture
def files(dkd, drawn, tmp_path) -> list:
    """--data, --index and --tasks, as `dkd index` and `dkd split` made them in `tmp_path` for the scenario 4,2."""
    index, tasks = tmp_path / "index.csv", tmp_path / "tasks.json"
    dkd("index", drawn, "--out", index, "--name", "shapes")
    dkd("split", index, "--scenario", "4,2", "--out", tasks)
    return ["--data", drawn, "--index", index, "--tasks", tasks]
