"""The command line from pictures to a table, and what it says when it can't."""

import json
import sys

import pytest

from dkd import cli

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
