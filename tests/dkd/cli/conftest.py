"""A small data set, indexed and split."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.dkd.command import SETTINGS, run

SHAPES = ["--preset", "shapes", *SETTINGS]


class Prepared(NamedTuple):
    """An index and the tasks of scenario 4,2."""

    data: Path
    index: Path
    tasks: Path

    @property
    def options(self) -> list[str]:
        """As most commands take them."""
        return [word for name, path in self._asdict().items() for word in (f"--{name}", str(path))]


@pytest.fixture
def dkd(monkeypatch):
    """Runs `dkd` with the given words; raises CommandError unless it succeeds."""
    return partial(run, monkeypatch)


@pytest.fixture
def split(dkd, drawn, tmp_path) -> Prepared:
    """Made by `dkd index` and `dkd split` in `tmp_path`."""
    made = Prepared(drawn, tmp_path / "index.csv", tmp_path / "tasks.json")
    dkd("index", drawn, "--out", made.index, "--name", "shapes")
    dkd("split", made.index, "--scenario", "4,2", "--out", made.tasks)
    return made
