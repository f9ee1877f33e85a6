"""Runs the command `dkd` in this process, as the shell does, on a small network."""

import sys
from pathlib import Path

import pytest

from dkd import cli

SOURCE = str(Path(cli.__file__).parents[2])
"""For PYTHONPATH of other processes."""
SETTINGS = [
    *("--set", "model.backbone=test_resnet"),
    *("--set", "model.aspp_channels=8"),
    *("--set", "train.crop=32"),
    *("--set", "train.batch=4"),
    *("--set", "base.epochs=1"),
    *("--set", "increment.epochs=1"),
    *("--set", "evaluate.crop=32"),
    *("--device", "cpu"),
]


class CommandError(AssertionError):
    """Its only argument is the exit status, or the text for standard error that comes with exit status 1."""

    @property
    def code(self) -> int | str:
        """That argument."""
        return self.args[0]


def run(monkeypatch, *words) -> None:
    """Run `dkd WORDS`; raises CommandError unless it succeeds."""
    monkeypatch.setattr(sys, "argv", ["dkd", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    if caught.value.code:
        raise CommandError(caught.value.code)
