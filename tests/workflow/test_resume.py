"""Real trainings under real Snakemake, killed; the benchmark itself, on less."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_run_whose_trainings_are_killed_ends_with_the_same_bytes():
    command = [sys.executable, "benchmarks/kill_resume.py", "--trainings", "--kills", "2", "--epochs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kills: 1 at checkpoints/base, 1 at checkpoints/increment\n" in done.stdout
    assert "resumed from a saved state: 2; " in done.stdout and "files that differ: 0 of " in done.stdout, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_benchmark_that_is_asked_to_stop_ends_its_run(tmp_path, number):
    """The signal goes to the script alone; it ends Snakemake, whose job saves what it has."""
    params = tmp_path / f"stopped-{tmp_path.name}-{number}.yaml"
    run = {"dataset": "shapes", "scenario": [4, 2], "method": "kd", "seed": 0}
    data = {"shapes": {"size": 32, "train": 24, "val": 8}}
    params.write_text(json.dumps({"runs": [run], "data": data, "base": {"epochs": 100_000}}))
    place = ROOT / "runs" / params.stem
    command = [sys.executable, "benchmarks/run.py", str(params), "--cores", "1"]
    # Scripts that are started in the background ignore SIGINT, and so would this one.
    heed = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script = f"{heed}; os.execv({command[0]!r}, {command})"
    try:
        with (tmp_path / "output").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", script], cwd=ROOT, stdout=output, stderr=output, start_new_session=True
            )
            wait(lambda: "epoch 1/" in (tmp_path / "output").read_text())
            process.send_signal(number)
            assert process.wait(timeout=120) == 130
        wait(lambda: not [each for each in psutil.process_iter() if str(place) in " ".join(command_of(each))])
        assert len(list(place.glob(".dkd/work/*/state.pt"))) == 1 and not list(place.glob(".dkd/scratch/*"))
        assert "dkd: stopped; nothing half-made is left" in (tmp_path / "output").read_text()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def command_of(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited for two minutes"
        time.sleep(0.1)
