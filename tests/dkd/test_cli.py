"""The command line from pictures to a table, and what it says when it can't."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dkd import cli
from dkd.methods import joint

SOURCE = str(Path(cli.__file__).parents[1])
SETTINGS = [
    *("--preset", "shapes"),
    *("--set", "model.backbone=test_resnet"),
    *("--set", "model.aspp_channels=8"),
    *("--set", "train.crop=32"),
    *("--set", "train.batch=4"),
    *("--set", "base.epochs=1"),
    *("--set", "increment.epochs=1"),
    *("--set", "evaluate.crop=32"),
    *("--device", "cpu"),
    *("--threads", "1"),
]


IMPORT = "import-checkpoint x.pth --dataset voc2012 --scenario 15-1 --step 1 --out o".split()


def run(monkeypatch, *words) -> None:
    monkeypatch.setattr(sys, "argv", ["dkd", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    if caught.value.code not in (0, None):
        raise AssertionError(caught.value.code)


def test_a_stopped_training_goes_on_with_the_same_call(drawn, tmp_path, monkeypatch, caplog):
    index, tasks = tmp_path / "index.csv", tmp_path / "tasks.json"
    run(monkeypatch, "index", drawn, "--out", index, "--name", "shapes")
    run(monkeypatch, "split", index, "--scenario", "4,2", "--out", tasks)
    call = ["train", "--data", drawn, "--index", index, "--tasks", tasks, "--step", 0, *SETTINGS]
    run(monkeypatch, *call, "--out", tmp_path / "undisturbed")
    left = list(range(3))
    loss = joint.loss

    def stop(*given, **weights):
        left.pop()
        if not left:
            signal.raise_signal(signal.SIGINT)
        return loss(*given, **weights)

    monkeypatch.setattr(joint, "loss", stop)
    # Ignored where the tests themselves run in the background of a script.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(AssertionError):
        run(monkeypatch, *call, "--out", tmp_path / "stopped")
    signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "stopped").exists()
    monkeypatch.setattr(joint, "loss", loss)
    with caplog.at_level(logging.INFO):
        run(monkeypatch, *call, "--out", tmp_path / "stopped")
    assert "continues after iteration 3 of 5" in caplog.text
    model = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("undisturbed", "stopped")]
    assert model[0] == model[1]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_torchrun_trains_in_two_processes_and_evaluates_in_three(drawn, tmp_path, monkeypatch):
    index, tasks = tmp_path / "index.csv", tmp_path / "tasks.json"
    run(monkeypatch, "index", drawn, "--out", index, "--name", "shapes")
    run(monkeypatch, "split", index, "--scenario", "4,2", "--out", tasks)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    files = ["--data", drawn, "--index", index, "--tasks", tasks]
    judged = ["evaluate", tmp_path / "base", *files, *SETTINGS, "--set", "evaluate.crop=24"]
    # Eight pictures for three processes.
    calls = {
        2: ["train", *files, "--step", "0", *SETTINGS, "--out", tmp_path / "base"],
        3: [*judged, "--out", tmp_path / "results"],
    }
    for processes, call in calls.items():
        command = [*torchrun, f"--nproc-per-node={processes}", "-m", "dkd.cli", *call]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": SOURCE})
        assert done.returncode == 0, done.stderr
    assert done.stdout.count("paper: all ") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"index.csv", "index.json", "tasks.json", "base", "results"}
    run(monkeypatch, *judged, "--out", tmp_path / "alone")
    for name in ("metrics.json", "confusion.npz"):
        assert (tmp_path / "results" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_from_pictures_to_a_table(drawn, tmp_path, monkeypatch, capsys):
    index, tasks = tmp_path / "index.csv", tmp_path / "tasks.json"
    run(monkeypatch, "index", drawn, "--out", index, "--name", "shapes")
    run(monkeypatch, "split", index, "--scenario", "4,2", "--out", tasks)
    files = ["--data", drawn, "--index", index, "--tasks", tasks]
    run(monkeypatch, "train", *files, "--step", 0, "--out", tmp_path / "base", *SETTINGS)
    step = ["--step", 1, "--method", "dkd", "--previous", tmp_path / "base"]
    run(monkeypatch, "train", *files, *step, "--out", tmp_path / "dkd", *SETTINGS)
    preset = [word for word in SETTINGS if word not in ("--preset", "shapes")]
    for name in ("base", "dkd"):
        judged = ["evaluate", tmp_path / name, *files, "--out", tmp_path / f"{name}-results"]
        run(monkeypatch, *judged, *preset)
    capsys.readouterr()
    results = [tmp_path / "base-results", tmp_path / "dkd-results"]
    run(monkeypatch, "report", *results, "--tasks", tasks, "--out", tmp_path / "report")
    assert capsys.readouterr().out.splitlines()[1].startswith("shapes_4-2_overlap_dkd_s0 ")
    final = json.loads((tmp_path / "report" / "summary.json").read_text())["shapes_4-2_overlap_dkd_s0"]
    assert "pieces of it are not there" in (tmp_path / "report" / "index.html").read_text()
    last = json.loads((tmp_path / "dkd-results" / "metrics.json").read_text())["protocols"]["paper"]
    assert final["all"] == last["all"] and final["forgetting"] is not None
    # The same from the checkpoint and the pictures alone.
    run(monkeypatch, "evaluate", tmp_path / "dkd", "--data", drawn, "--out", tmp_path / "alone", *preset)
    assert capsys.readouterr().out.startswith(f"paper: all {last['all']:.2f}, base ")
    assert json.loads((tmp_path / "alone" / "metrics.json").read_text())["protocols"]["paper"] == last
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if name.startswith(".dkd-")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["index", "nowhere", "--out", "x.csv"], "nowhere/classes.txt: No such file"),
        (["index", ".", "--format", "vok", "--out", "x.csv"], "--format: unknown format 'vok'"),
        (["split", "none.csv", "--scenario", "4-1", "--out", "x.json"], "none.json: No such file"),
        (["split", "none.csv", "--scenario", "4-1", "--setting", "both", "--out", "x.json"], "unknown setting 'both'"),
        (["train", *"--data . --index i --tasks t --step 1 --out o --method kdd".split()], "did you mean 'kd'?"),
        (["train", *"--data . --index i --tasks t --step 1 --out o".split()], "every later step from a checkpoint"),
        (["train", *"--data . --index i --tasks t --step 0 --out o --set base.lrr=1".split()], "base.lrr: unknown key"),
        (["train", *"--data . --index i --tasks t --step 0 --out o --preset vok".split()], "unknown preset 'vok'"),
        (["evaluate", "none", *"--data . --index i --tasks t --out o".split()], "none: not a checkpoint, step.json is"),
        (["split", "none.csv", *"--scenario 4-1 --order nowhere --out x.json".split()], "none.json: No such file"),
        ([*IMPORT, "--dataset", "vok"], "unknown preset 'vok'"),
        ([*IMPORT, "--scenario", "15-2"], "leave 5, which is not a multiple of 2"),
        ([*IMPORT, "--step", "6"], "--step: 15-1 has steps 0..5, no step 6"),
        (IMPORT, "x.pth: No such file"),
        (["report", "none", *"--tasks t --out o".split()], "t: No such file"),
    ],
)
def test_one_line_and_nothing_left(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError) as caught:
        run(monkeypatch, *words)
    line = str(caught.value)
    assert line.startswith("dkd: ") and said in line and "\n" not in line
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(drawn, tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    run(monkeypatch, "index", drawn, "--out", tmp_path / "index.csv")
    run(monkeypatch, "split", tmp_path / "index.csv", "--scenario", "4-1", "--out", tmp_path / "tasks.json")
    files = ["--data", drawn, "--index", tmp_path / "index.csv", "--tasks", tmp_path / "tasks.json"]
    with pytest.raises(AssertionError, match="base: exists already"):
        run(monkeypatch, "train", *files, "--step", 0, "--out", tmp_path / "base", *SETTINGS)


@pytest.mark.parametrize("seed", ["-1", "2147483648", "one"])
@pytest.mark.parametrize("verb", ["train", "split", "extend", "memory"])
def test_seeds_are_those_that_params_take(monkeypatch, capsys, verb, seed):
    monkeypatch.setattr(sys, "argv", ["dkd", verb, "--seed", seed])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2 and "'--seed'" in capsys.readouterr().err
