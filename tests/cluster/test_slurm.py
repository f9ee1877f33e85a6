"""The workflow on two nodes of a real Slurm: the same results as on one machine, whatever becomes of jobs and nodes."""

import pytest

from .conftest import CLUSTER, TINY, Study
from .slurm import until

pytestmark = pytest.mark.cluster
BASE = "checkpoints/base/shapes/overlap/4/s0"


def training(study, run):
    """The process that trains the base, held up after it has learned something."""
    until(lambda: "epoch 1/" in study.log(BASE) or run.ended(), run.output)
    [process] = [each for each in study.working() if each.cmdline()[1:3] == ["-m", "pipeline.job"]]
    process.suspend()
    return process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("undisturbed") / "study", TINY)
    study.local("base_all")
    return study.digests()


def test_the_default_workflow_has_the_results_of_a_local_run(begin):
    here, there = begin("here", None), begin("there", None)
    with here.start("--cores", "1") as local, there.start(*CLUSTER) as remote:
        remote.end()
        local.end()
    assert there.digests() == here.digests() and len(here.digests()) > 20


def test_a_training_that_is_cancelled_goes_on_where_it_was(begin, slurm, undisturbed):
    study = begin("study", TINY)
    with study.start(*CLUSTER, "base_all") as run:
        training(study, run)
        [job] = slurm.jobs("-t", "R")
        # Wakes all processes of the job, and ends them.
        slurm.call("scancel", job)
        output = run.end()
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in output
    assert "continues after iteration" in study.log(BASE)
    assert study.digests() == undisturbed


def test_a_training_longer_than_the_time_limit_goes_on_where_it_was(begin, slurm, undisturbed):
    study = begin("study", TINY)
    with study.start(*CLUSTER, "--set-resources", "base:runtime=1", "--", "base_all") as run:
        training(study, run)
        output = run.end()
    assert "SLURM status is: 'TIMEOUT'" in output
    assert "continues after iteration" in study.log(BASE)
    assert study.digests() == undisturbed


def test_a_training_goes_on_where_it_was_when_its_node_is_lost(begin, slurm, undisturbed):
    study = begin("study", {**TINY, "runtime": {"save_minutes": 0.0001}})
    with study.start(*CLUSTER, "base_all") as run:
        training(study, run)
        [node] = slurm.jobs("-t", "R", form="%N")
        slurm.kill(node)
        output = run.end()
    slurm.boot(node)
    assert "continues after iteration" in study.log(BASE)
    assert study.digests() == undisturbed
    assert study.record(BASE)["host"] != node
