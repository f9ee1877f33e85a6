"""What is recorded of a training."""

import csv
import sys

import pytest
from tensorboard.backend.event_processing import event_accumulator

from dkd.errors import InputError
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
