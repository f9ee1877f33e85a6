"""Jobs that a scheduler starts, each in a session of its own, which know the run from its files alone."""

import pytest

from .conftest import DATA, bases

SCHEDULER = """#!/bin/sh
setsid sh "$1" >/dev/null 2>&1 </dev/null &
echo $!
"""


@pytest.mark.slow
def test_a_scheduler_makes_the_same_and_a_finished_node_outlives_its_job(begun, tmp_path):
    submit = tmp_path / "submit.sh"
    submit.write_text(SCHEDULER)
    submit.chmod(0o755)
    cluster = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", str(submit), "--jobs", "2")
    command = (".venv/bin/snakemake", *cluster, "--seconds-between-status-checks", "1", "--latency-wait", "60")
    # The scheduler ends the job of the base when its node is in its place already.
    store = begun.path / "pipeline" / "store.py"
    rename = "    source.rename(folder)\n"
    killed = f"{rename}    if 'checkpoints/base' in str(folder):\n        os.kill(os.getpid(), 9)\n"
    text = store.read_text()
    assert text.count(rename) == 1
    store.write_text(text.replace(rename, killed))
    output = begun.call(*command, "base_all", expect=1)
    assert "Cannot restore" not in output
    made = [*DATA[:3], *bases(0)]
    assert begun.ran() == sorted(made)
    [base] = begun.path.glob(f"{bases(0)[0]}-*")
    assert sorted(path.name for path in base.iterdir()) == [
        "loss.csv",
        "model.safetensors",
        "provenance.json",
        "step.json",
        "train.csv",
    ]
    store.write_text(text)
    assert "Nothing to be done" in begun.call(*command, "base_all")
    assert begun.ran() == []
