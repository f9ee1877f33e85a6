"""Real trainings under real Snakemake, killed; the benchmark itself, with fewer kills."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_run_that_is_killed_three_times_ends_with_the_same_bytes():
    command = [sys.executable, "benchmarks/kill_resume.py", "--kills", "3", "--epochs", "3", "--within", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills: " in done.stdout and "files that differ: 0 of " in done.stdout
