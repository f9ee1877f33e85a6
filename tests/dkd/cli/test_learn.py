"""Training on the command line: continued where it was interrupted, and shared by several processes."""

import json
import logging
import os
import signal
import subprocess
import sys

import pytest

from dkd.methods import joint
from tests.dkd.command import SOURCE, CommandError

from .conftest import SHAPES


def test_the_same_call_continues_an_interrupted_training(dkd, files, tmp_path, monkeypatch, caplog):
    call = ["train", *files, "--step", 0, *SHAPES]
    dkd(*call, "--out", tmp_path / "undisturbed")
    left = list(range(3))
    loss = joint.loss

    def interrupt(*given, **weights):
        left.pop()
        if not left:
            signal.raise_signal(signal.SIGINT)
        return loss(*given, **weights)

    monkeypatch.setattr(joint, "loss", interrupt)
    # Ignored where the tests themselves run in the background of a script.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(CommandError) as caught:
        dkd(*call, "--out", tmp_path / "stopped")
    assert caught.value.code == 130
    signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "stopped").exists()
    monkeypatch.setattr(joint, "loss", loss)
    with caplog.at_level(logging.INFO):
        dkd(*call, "--out", tmp_path / "stopped")
    assert "after iteration 3 of 5" in caplog.text
    model = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("undisturbed", "stopped")]
    assert model[0] == model[1]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_torchrun_trains_in_two_processes_and_evaluates_in_three(dkd, files, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    evaluate = ["evaluate", tmp_path / "base", *files, *SHAPES, "--set", "evaluate.crop=24"]
    # Eight test images for three processes.
    calls = {
        2: ["train", *files, "--step", "0", *SHAPES, "--out", tmp_path / "base"],
        3: [*evaluate, "--out", tmp_path / "results"],
    }
    for processes, call in calls.items():
        command = [*torchrun, f"--nproc-per-node={processes}", "-m", "dkd.cli", *call]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": SOURCE})
        assert done.returncode == 0, done.stderr
    assert done.stdout.count("paper: all ") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"index.csv", "index.json", "tasks.json", "base", "results"}
    dkd(*evaluate, "--out", tmp_path / "alone")
    for name in ("metrics.json", "confusion.npz"):
        assert (tmp_path / "results" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_step_is_trained_with_values_of_its_own(dkd, files, tmp_path):
    base = tmp_path / "base"
    dkd("train", *files, "--step", 0, "--out", base, *SHAPES)
    later = ["train", *files, "--step", 1, "--previous", base, *SHAPES]
    with pytest.raises(CommandError, match=r"^dkd: --set: increment\.steps\.2: there is no step 2, the last is 1"):
        dkd(*later, "--set", "increment.steps.2.epochs=3", "--out", tmp_path / "none")
    dkd(*later, "--set", "increment.steps.1.epochs=3", "--out", tmp_path / "later")
    rows = (tmp_path / "later" / "train.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3"], "SHAPES say one epoch"


def test_exemplars_are_chosen_and_replayed(dkd, files, tmp_path):
    base, kept = tmp_path / "base", tmp_path / "kept"
    dkd("train", *files, "--step", 0, *SHAPES, "--out", base)
    where = ["--step", 1, "--device", "cpu"]
    dkd("memory", base, *files, *where, "--out", kept, "--confidence", 0.6)
    dkd("memory", base, *files, *where, "--out", tmp_path / "few", "--size", 3)
    sizes = [len(json.loads((folder / "memory.json").read_text())["exemplars"]) for folder in (kept, tmp_path / "few")]
    assert sizes[1] == 3 < sizes[0] <= 100
    step = ["--step", 1, "--method", "dkd-m", "--previous", base, "--memory", kept]
    dkd("train", *files, *step, *SHAPES, "--out", tmp_path / "later")
    assert (tmp_path / "later" / "model.safetensors").is_file()


def test_a_base_of_another_setting_or_with_other_names_is_refused(dkd, files, drawn, tmp_path):
    base, other = tmp_path / "base", tmp_path / "other.json"
    dkd("train", *files, "--step", 0, *SHAPES, "--out", base)
    dkd("split", files[3], "--scenario", "4,2", "--setting", "disjoint", "--out", other)
    step = ["--step", 1, "--previous", base, *SHAPES, "--out", tmp_path / "later"]
    with pytest.raises(CommandError, match=r"was trained in the setting overlap, but .*other\.json has disjoint; "):
        dkd("train", *files[:-1], other, *step)
    about = tmp_path / "index.json"
    about.write_text(about.read_text().replace('"square"', '"cube"'))
    with pytest.raises(CommandError, match="base: label 2 is 'square', but 'cube' in the index; name a checkpoint"):
        dkd("train", *files, *step)
    assert not (tmp_path / "later").exists()
