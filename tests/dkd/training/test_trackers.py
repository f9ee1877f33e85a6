"""Curves of a training: real ones of TensorBoard; of other trackers what accelerate calls in stand-ins for them."""

import csv
import logging
import signal
import sys
import tomllib
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import get_args

import pytest
from tensorboard.backend.event_processing import event_accumulator

from dkd.config import schema
from dkd.errors import InputError
from dkd.methods import joint
from dkd.training import resume, trackers
from tests.conftest import ROOT
from tests.dkd.training.conftest import LONG, Stopped, base_of, disturb, learn, learn_bytes, same, send


def history_of(folder):
    with (folder / "train.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def curves_of(folder):
    """By name, what TensorBoard shows: step -> value; fails where a step has two values."""
    events = event_accumulator.EventAccumulator(str(folder)).Reload()
    found = {}
    for name in events.Tags()["scalars"]:
        points = events.Scalars(name)
        found[name] = {each.step: pytest.approx(each.value, rel=1e-6) for each in points}
        assert len(found[name]) == len(points)
    return found


def test_tensorboard_gets_the_records_of_train_csv_and_losses_of_iterations(prepared, base, tmp_path):
    found = base_of(prepared, tmp_path / "s0", trackers=("tensorboard",), logs=tmp_path / "logs", name="checkpoints/s0")
    assert same(found.tensors, base.tensors)
    assert (tmp_path / "s0" / "train.csv").read_bytes() == (base.folder / "train.csv").read_bytes()
    curves = curves_of(tmp_path / "logs" / "tensorboard" / "checkpoints" / "s0")
    history, per_epoch = history_of(tmp_path / "s0"), found.cost["iterations"] // 2
    for name in history[0]:
        assert curves.pop(name) == {per_epoch * row["epoch"]: row[name] for row in history}
    assert curves.keys() == {"iteration/total", "iteration/mbce", "iteration/ac"}
    assert list(curves["iteration/total"]) == list(range(10, found.cost["iterations"] + 1, 10))


def test_curves_of_a_killed_training_go_on_from_its_state(prepared, tmp_path, monkeypatch, stopping):
    """What it recorded after the state is recorded again, and shown once."""
    due = iter([*[False] * 6, True, *[False] * 99])
    monkeypatch.setattr(resume.CheckpointKeeper, "due", lambda self: next(due))

    def die(total):
        raise Stopped

    given = {"work": tmp_path / "state", "trackers": ("tensorboard",), "logs": tmp_path, "name": "s0"}
    with pytest.raises(Stopped):
        learn(prepared, tmp_path / "out", disturb(joint, 17, die), **given)
    assert learn(prepared, tmp_path / "out", **given)["resumed_at"] == 7
    curves, per_epoch = curves_of(tmp_path / "tensorboard" / "s0"), 5
    assert curves["total"] == {per_epoch * row["epoch"]: row["total"] for row in history_of(tmp_path / "out")}
    assert list(curves["iteration/total"]) == [10, 20]


class Calls:
    """Stand-ins for the packages of trackers, with what accelerate calls of them; each call is noted."""

    def __init__(self, monkeypatch):
        self.patch, self.made = monkeypatch, []
        run = SimpleNamespace(log=self.note("log"), finish=self.note("finish"))
        config = SimpleNamespace(update=self.note("config"))
        self.module("wandb", init=self.note("init", run), config=config)
        started = SimpleNamespace(info=SimpleNamespace(run_id="run 7"))
        calls = {name: self.note(name) for name in ("set_tracking_uri", "log_params", "log_metrics", "end_run")}
        limits = SimpleNamespace(MAX_PARAM_VAL_LENGTH=6000, MAX_PARAMS_TAGS_PER_BATCH=100)
        calls |= {"search_experiments": self.note("search", []), "create_experiment": self.note("create", "1")}
        calls |= {"start_run": self.note("start_run", started), "utils": SimpleNamespace(validation=limits)}
        self.module("mlflow", **calls)
        live = {name: self.note(name) for name in ("log_metric", "next_step", "log_params", "end")}
        self.module("dvclive", Live=self.note("live", SimpleNamespace(**live)))
        self.module("dvclive.plots", Metric=SimpleNamespace(could_log=lambda value: True))

    def module(self, name, **content):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(content)
        self.patch.setitem(sys.modules, name, module)

    def note(self, name, answer=None):
        def call(*given, **named):
            self.made.append((name, given, named))
            return answer

        return call

    def of(self, name):
        return [(given, named) for called, given, named in self.made if called == name]


@pytest.fixture
def calls(monkeypatch):
    for name in ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return Calls(monkeypatch)


def test_wandb_writes_to_files_unless_told_otherwise(prepared, base, tmp_path, calls, monkeypatch):
    given = {"trackers": ("wandb",), "logs": tmp_path / "logs", "name": "s0"}
    found = base_of(prepared, tmp_path / "s0", **given)
    assert same(found.tensors, base.tensors)
    [(_, started)] = calls.of("init")
    assert (started["project"], started["mode"], started["dir"]) == ("dkd", "offline", str(tmp_path / "logs"))
    [((config,), _)] = calls.of("config")
    assert config["lr"] == 0.01 and config["scale"] == "[0.5, 1.0]" and "replay" not in config
    epochs = [(values[0], step) for values, step in calls.of("log") if "epoch" in values[0]]
    assert [values for values, _ in epochs] == history_of(tmp_path / "s0")
    assert [step["step"] for _, step in epochs] == [5, 10]
    assert len(calls.of("finish")) == 1
    monkeypatch.setenv("WANDB_MODE", "online")
    base_of(prepared, tmp_path / "again", **given)
    assert calls.of("init")[1][1]["mode"] == "online"


def test_mlflow_writes_to_files_unless_told_otherwise(prepared, tmp_path, calls, monkeypatch):
    given = {"trackers": ("mlflow",), "logs": tmp_path / "logs", "name": "s0"}
    base_of(prepared, tmp_path / "s0", **given)
    assert calls.of("set_tracking_uri") == [((f"sqlite:///{tmp_path}/logs/mlflow/mlflow.db",), {})]
    assert calls.of("create")[0][1]["artifact_location"] == f"file://{tmp_path}/logs/mlflow/artifacts"
    epochs = [(given[0], named["step"]) for given, named in calls.of("log_metrics") if "epoch" in given[0]]
    assert epochs == list(zip(history_of(tmp_path / "s0"), (5, 10), strict=True))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    base_of(prepared, tmp_path / "again", **given)
    assert len(calls.of("set_tracking_uri")) == 1 and calls.of("create")[1][1]["artifact_location"] is None


def test_dvclive_makes_no_experiment_and_no_dvc_yaml(prepared, tmp_path, calls):
    base_of(prepared, tmp_path / "s0", trackers=("dvclive",), logs=tmp_path, name="s0")
    [(_, started)] = calls.of("live")
    own = {"dir": str(tmp_path / "dvclive" / "s0"), "resume": False, "report": None, "dvcyaml": None}
    assert started == {**own, "save_dvc_exp": False}
    totals = [given[1] for given, _ in calls.of("log_metric") if given[0] == "total"]
    assert totals == [row["total"] for row in history_of(tmp_path / "s0")]


def test_a_resumed_training_goes_on_with_its_runs_and_a_new_one_has_new_ones(prepared, tmp_path, calls, stopping):
    given = {"work": tmp_path / "state", "trackers": ("wandb", "mlflow", "dvclive"), "logs": tmp_path, "name": "s0"}
    with pytest.raises(Stopped):
        learn(prepared, tmp_path / "out", disturb(joint, 7, send(signal.SIGTERM)), **given)
    learn(prepared, tmp_path / "out", **given)
    learn(prepared, tmp_path / "out", recipe=LONG._replace(seed=1), **given)
    ids = [named["id"] for _, named in calls.of("init")]
    assert ids[0] == ids[1] != ids[2]
    assert [named["run_id"] for _, named in calls.of("start_run")] == [None, "run 7", None]
    assert [named["resume"] for _, named in calls.of("live")] == [False, True, False]


def test_a_tracker_that_fails_later_is_left_out_and_training_goes_on(prepared, alone, tmp_path, calls, caplog):
    def refuse(*given, **named):
        raise ConnectionError("the server\nis gone")

    calls.patch.setattr(sys.modules["mlflow"], "log_metrics", refuse)
    with caplog.at_level(logging.WARNING):
        given = {"trackers": ("mlflow", "wandb"), "logs": tmp_path, "name": "s0"}
        assert learn_bytes(prepared, tmp_path / "out", **given)[0] == alone.made
    warned = [record.getMessage() for record in caplog.records if "curves" in record.getMessage()]
    assert warned == ["mlflow gets no more curves of this training: ConnectionError: the server is gone"]
    assert len(calls.of("log")) == 4 + 2 and calls.of("finish")


@pytest.mark.parametrize("where", ["init", "config"])
def test_a_tracker_that_does_not_start_is_one_line_and_what_has_started_is_ended(prepared, tmp_path, calls, where):
    def refuse(*given, **named):
        raise ConnectionError("no such server")

    place = sys.modules["wandb"] if where == "init" else sys.modules["wandb"].config
    calls.patch.setattr(place, {"init": "init", "config": "update"}[where], refuse)
    with pytest.raises(InputError, match="the tracker wandb does not start: ConnectionError: no such server; "):
        base_of(prepared, tmp_path / "s0", trackers=("mlflow", "wandb"), logs=tmp_path)
    assert (len(calls.of("end_run")), len(calls.of("finish"))) == (1, where == "config")


@pytest.mark.parametrize("name", trackers.NAMES)
def test_a_tracker_that_is_not_installed_is_one_line_before_anything_is_read(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} is not installed: pip install 'dkd\[{name}\]', or leave it out"):
        base_of(None, tmp_path / "s0", trackers=(name,))


def test_names_are_those_of_the_schema_and_of_extras():
    kinds, _ = get_args(schema.Runtime.model_fields["trackers"].annotation)
    assert get_args(kinds) == trackers.NAMES
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert all(extras[name][0].startswith(f"{name}>=") for name in trackers.NAMES)
    with pytest.raises(InputError, match="unknown tracker 'aim'; known: tensorboard, wandb"):
        trackers.check(("aim",))
