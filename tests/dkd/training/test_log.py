"""What is recorded of a training."""

import csv
import sys

import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator

from dkd.errors import InputError
from dkd.training import log
from tests.dkd.training.conftest import base_of, same


def test_curves_for_tensorboard_are_the_records_of_train_csv(prepared, base, tmp_path, monkeypatch):
    found = base_of(prepared, tmp_path / "s0", tensorboard_dir=tmp_path / "curves")
    assert same(found.tensors, base.tensors)
    events = event_accumulator.EventAccumulator(str(tmp_path / "curves")).Reload()
    with (tmp_path / "s0" / "train.csv").open() as file:
        history = list(csv.DictReader(file))
    assert set(events.Tags()["scalars"]) == history[0].keys() - {"epoch"}
    for name in events.Tags()["scalars"]:
        for event, row in zip(events.Scalars(name), history, strict=True):
            assert event.step == int(row["epoch"]) and event.value == pytest.approx(float(row[name]), rel=1e-6)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"TensorBoard is not installed: pip install 'dkd\[tensorboard\]'"):
        base_of(prepared, tmp_path / "missing", tensorboard_dir=tmp_path / "curves")


def test_many_iterations_become_windows_of_about_the_same_length():
    losses = torch.arange(7.0)
    found = log.windows(losses, 2, log.POINTS // 3)
    assert found == [
        {"iteration": 10, "epoch": 1.4286, "total": 1.0},
        {"iteration": 12, "epoch": 1.7143, "total": 3.5},
        {"iteration": 14, "epoch": 2.0, "total": 5.5},
    ]
    assert log.windows(losses, 3, 10 * log.POINTS) == [{"iteration": 21, "epoch": 3.0, "total": 3.0}]
    assert len(log.windows(losses, 1, 1)) == 7
