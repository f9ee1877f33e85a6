"""What holds for every command: help, exit status, one line for an error, and nothing left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner

from dkd import cli
from dkd.data import index as index_file
from tests.dkd.command import SOURCE, CommandError
from tests.dkd.use.conftest import save

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
        (
            ["explain", "c", "i.jpg", *"--class cat --out o.gif".split()],
            "--out: 'o.gif' ends neither in .png, .svg nor ",
        ),
        (["index", ".", "--out", "o.json"], "--out: 'o.json' does not end in .csv; rename it"),
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


def test_inputs_are_not_overwritten(dkd, files, drawn, tmp_path):
    index = tmp_path / "index.csv"
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CommandError, match=r"index\.json: is an input of this command and would be overwritten; name"):
        dkd("split", index, "--scenario", "4,2", "--out", tmp_path / "index.json")
    order = tmp_path / "order.txt"
    order.write_text(" ".join("654321"))
    with pytest.raises(CommandError, match=r"order\.txt: is an input"):
        dkd("split", index, "--scenario", "4,2", "--order", order, "--out", order)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path != order} == before
    assert order.read_text() == "6 5 4 3 2 1"
    root = shutil.copytree(drawn, tmp_path / "data")
    (root / "kept.csv").write_text("kept")
    with pytest.raises(CommandError, match=r"kept\.csv: exists already in .*data and would be overwritten"):
        dkd("index", root, "--out", root / "kept.csv")
    assert (root / "kept.csv").read_text() == "kept" and not list(root.glob(".dkd-*"))


def test_pipes_are_no_input(dkd, files, tmp_path):
    """Opening one would wait for a writer."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "pipe.json").symlink_to("/dev/zero")
    split = ["--scenario", "4,2", "--out", tmp_path / "t.json"]
    for words in (
        ["split", tmp_path / "pipe.csv", *split],
        ["split", files[3], *split, "--order", tmp_path / "pipe.csv"],
        ["report", tmp_path, "--tasks", tmp_path / "pipe.json", "--out", tmp_path / "out"],
        ["import-checkpoint", tmp_path / "pipe.csv", *IMPORT[2:]],
    ):
        with pytest.raises(CommandError, match=r"not a (regular )?file"):
            dkd(*words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_and_is_the_exit_status(dkd, drawn, tmp_path, monkeypatch, number):
    # Ignored where the tests themselves run in the background of a script.
    before = signal.signal(number, signal.default_int_handler)
    monkeypatch.setattr(index_file, "write", lambda *_: signal.raise_signal(number))
    with pytest.raises(CommandError) as caught:
        dkd("index", drawn, "--out", tmp_path / "index.csv")
    assert caught.value.code == 128 + number and not list(tmp_path.iterdir())
    assert signal.signal(number, before) is signal.default_int_handler, "what was there before is put back"


def test_ctrl_c_while_modules_are_loaded_is_no_traceback():
    code = "import sys, types; sys.modules['typer'] = Broken('typer'); import dkd.cli"
    stub = "class Broken(type(__import__('sys'))):\n    def __getattr__(self, name): raise KeyboardInterrupt\n"
    env = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run([sys.executable, "-c", stub + code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.fixture
def calls(files, drawn, tmp_path) -> dict[str, list]:
    """The words of every command that reads a checkpoint, of classes 1 to 4 in `tmp_path`/network."""
    network, image = save(tmp_path / "network", (1, 2, 3, 4), (4,)), drawn / "images" / "train_00000.png"
    return {
        "train": [*files, "--step", 1, "--previous", network, "--preset", "shapes", "--out", tmp_path / "out"],
        "evaluate": [network, *files, "--out", tmp_path / "out"],
        "memory": [network, *files, "--step", 1, "--out", tmp_path / "out"],
        "extend": [network, "--data", drawn, "--preset", "shapes", "--out", tmp_path / "out"],
        "predict": [network, image, "--out", tmp_path / "out"],
        "explain": [network, image, "--class", "disc", "--out", tmp_path / "out.png"],
    }


VERBS = ["train", "evaluate", "memory", "extend", "predict", "explain"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("step.json", b'{"sizes": null}', r"step\.json: dataset: missing"),
        ("model.safetensors", b"", r"model\.safetensors: not readable as weights"),
        ("model.safetensors", None, r"network: not a checkpoint, model\.safetensors is missing"),
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_damaged_checkpoint_is_one_line_and_leaves_nothing(dkd, calls, tmp_path, verb, name, content, words):
    damaged = tmp_path / "network" / name
    damaged.write_bytes(content) if content is not None else damaged.unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CommandError, match=rf"^dkd: .*{words}") as caught:
        dkd(verb, *calls[verb], "--device", "cpu")
    assert "\n" not in str(caught.value) and sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has an MPS device")
@pytest.mark.parametrize("device", ["cdua", "mps", "cuda:99"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_command_refuses_a_device_that_is_not_there(dkd, calls, tmp_path, verb, device):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CommandError, match=rf"^dkd: device '{device}': .*; this machine has auto, cpu"):
        dkd(verb, *calls[verb], "--device", device)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words", ["predict c i --out o --workers 500", "predict c i --out o --size 100000", "predict c i --out o --tile 1"]
)
def test_a_number_beyond_all_bounds_is_wrong_usage(dkd, words):
    with pytest.raises(CommandError) as caught:
        dkd(*words.split())
    assert caught.value.code == 2


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


def test_help_shows_what_stands_in_brackets():
    """To rich, a word in brackets is markup."""
    seen = 0
    for name, command in get_command(cli.app).commands.items():
        shown = CliRunner().invoke(cli.app, [name, "--help"], env={"COLUMNS": "200"}).stdout
        texts = [command.help, command.epilog, *(getattr(each, "help", None) for each in command.params)]
        for word in re.findall(r"\[[\w.-]+\]", " ".join(filter(None, texts))):
            assert word in shown, f"{name}: {word}"
            seen += 1
    assert seen >= 2
