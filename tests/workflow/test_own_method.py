"""A method from the outside, the one of docs/how-to/add-a-method.md, dropped into its folder and run for real."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import COPIED, ROOT

PARAMS = {
    "runs": [{"dataset": "shapes", "scenario": [4, 2], "method": ["dkd-m", "logit-mse"], "seed": 0}],
    "data": {"shapes": {"size": 32, "train": 24, "val": 8}},
    "model": {"aspp_channels": 8},
    "train": {"batch": 4, "crop": 32},
    "base": {"epochs": 1},
    "increment": {"epochs": 1},
    "evaluate": {"crop": 32},
    "methods": {"logit-mse": {"mse": 0.5}, "dkd-m": {"memory": 5, "replay": "pseudo"}},
}

PATHS = {"PYTHONPATH": "src:."}


def run(place, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_one_file_is_a_method(tmp_path):
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "cache", "tmp"))
        elif source.exists():
            shutil.copy2(source, target)
    method = tmp_path / "src" / "dkd" / "methods" / "logit_mse.py"
    # Whoever follows the page has it already.
    method.unlink(missing_ok=True)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    code, output = run(tmp_path)
    assert code and "methods.logit-mse: unknown key; known: dkd, dkd-m" in output and "Traceback" not in output

    text = (ROOT / "docs" / "how-to" / "add-a-method.md").read_text().split("```python\n")[1].split("```")[0]
    assert len(text.splitlines()) < 130
    method.write_text(text)
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    linted = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-logo"], cwd=tmp_path, env=PATHS)
    assert linted.returncode == 0, "the import order allows any further method"
    code, output = run(tmp_path)
    assert code == 0, output
    with (tmp_path / "metrics" / "differences.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "all" and row["step"] == "1"]
    assert [(row["method"], row["than"], row["n"]) for row in rows] == [("logit-mse", "dkd-m", "1")]
    history = next(tmp_path.glob("checkpoints/increment/shapes/overlap/4+2/logit-mse-s0-*/train.csv")).read_text()
    assert history.startswith("epoch,lr,total,mbce,mse\n")

    # Its own runs depend on it, and no others.
    method.write_text(text.replace("square()", "abs()"))
    code, output = run(tmp_path, "-n")
    assert (
        code == 0 and re.search(r"^increment +1$", output, re.M) and not re.search("^(base|memory) ", output, re.M)
    ), output
    method.write_text(text.replace('"mse": 1.0', '"mse": print'))
    code, output = run(tmp_path, "-n")
    assert code and "logit_mse.py: OPTIONS cannot be read" in output and "Traceback" not in output
