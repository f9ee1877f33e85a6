"""What holds for every command: help, exit status, one line for an error, and nothing left behind."""

import os
import subprocess
import sys

import pytest
from typer.main import get_command

from dkd import cli
from tests.dkd.command import SOURCE, CommandError

from .conftest import SHAPES

TRAIN = "train --data . --index i --tasks t --out o".split()
IMPORT = "import-checkpoint x.pth --dataset voc2012 --scenario 15-1 --step 1 --out o".split()
SPLIT = "split none.csv --scenario 4-1 --out x.json".split()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["fetch", "voc", "--out", "o"], "DATASET: unknown data set 'voc'; did you mean 'voc2012'?"),
        (["index", "nowhere", "--out", "x.csv"], "nowhere/classes.txt: No such file"),
        (["index", ".", "--format", "vok", "--out", "x.csv"], "--format: unknown format 'vok'; did you mean 'voc'?"),
        (SPLIT, "none.json: No such file"),
        ([*SPLIT, "--setting", "both"], "--setting: unknown setting 'both'; known: overlap, disjoint, sequential, "),
        ([*TRAIN, "--step", "1", "--method", "kdd"], "--method: unknown method 'kdd'; did you mean 'kd'?"),
        ([*TRAIN, "--step", "1", "--method", "joint"], "--step: the method joint trains all classes in step 0"),
        ([*TRAIN, "--step", "0", "--previous", "p"], "--previous: step 0 starts from no checkpoint; leave the option"),
        ([*TRAIN, "--step", "1"], "--previous: step 1 starts from the checkpoint of step 0; name its folder"),
        ([*TRAIN, "--step", "0", "--memory", "m"], "--memory: step 0 of the method dkd replays no exemplars"),
        ([*TRAIN, *"--step 1 --method dkd-m --previous p".split()], "--memory: the method dkd-m replays exemplars; ma"),
        ([*TRAIN, "--step", "0", "--set", "base.lrr=1"], "base.lrr: unknown key"),
        ([*TRAIN, "--step", "0", "--preset", "vok"], "unknown preset 'vok'"),
        (["evaluate", "none", *"--data . --index i --tasks t --out o".split()], "none: not a checkpoint"),
        ([*IMPORT, "--dataset", "vok"], "unknown preset 'vok'"),
        ([*IMPORT, "--dataset", "shapes", "--scenario", "4,,2"], "scenario '4,,2': write A-B"),
        ([*IMPORT, "--dataset", "camvid"], "--dataset: 'camvid' has no fixed list of classes; use voc2012 or ade20k"),
        ([*IMPORT, "--scenario", "15-2"], "leave 5, which is not a multiple of 2"),
        ([*IMPORT, "--step", "6"], "--step: 15-1 has steps 0..5, no step 6"),
        (IMPORT, "x.pth: No such file"),
        (["explain", "c", "i.jpg", *"--class cat --out o.gif".split()], "--out: 'o.gif' ends neither in .png nor in "),
        (["report", "none", *"--tasks t --out o".split()], "t: No such file"),
    ],
)
def test_an_error_is_one_line_and_nothing_is_left(dkd, tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError) as caught:
        dkd(*words)
    said = str(caught.value.code)
    assert said.startswith("dkd: ") and line in said and "\n" not in said
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(dkd, files, tmp_path):
    (tmp_path / "base").mkdir()
    with pytest.raises(CommandError, match="base: exists already; remove it or name another folder"):
        dkd("train", *files, "--step", 0, "--out", tmp_path / "base", *SHAPES)


@pytest.mark.parametrize("seed", ["-1", "2147483648", "one"])
@pytest.mark.parametrize("verb", ["train", "split", "extend", "memory"])
def test_a_seed_outside_its_range_is_wrong_usage(dkd, capsys, verb, seed):
    with pytest.raises(CommandError) as caught:
        dkd(verb, "--seed", seed)
    assert caught.value.code == 2 and "'--seed'" in capsys.readouterr().err


def test_help_is_there_without_torch_and_every_command_has_an_example():
    code = "import sys; sys.modules['torch'] = None; from dkd.cli import main; main()"
    env = {**os.environ, "PYTHONPATH": SOURCE}
    command = [sys.executable, "-c", code, "--help"]
    top = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
    assert "Exit status: 0 success" in top and "--install-completion" in top
    for name, command in get_command(cli.app).commands.items():
        assert command.epilog.startswith(f"Example: dkd {name} "), name
        assert name in top
