"""Real trainings under real Snakemake, killed; the benchmark itself, on less."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_run_whose_trainings_are_killed_ends_with_the_same_bytes():
    command = [sys.executable, "benchmarks/kill_resume.py", "--trainings", "--kills", "2", "--epochs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kills: 1 at checkpoints/base, 1 at checkpoints/increment\n" in done.stdout
    assert "went on from a saved state: 2; " in done.stdout and "files that differ: 0 of " in done.stdout, done.stdout
