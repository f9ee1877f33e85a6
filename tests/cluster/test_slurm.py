"""The workflow on two nodes of a real Slurm: the same results as on one machine, whatever becomes of jobs and nodes."""

import shutil
import signal

import pytest

from pipeline.rules import RULES

from .conftest import CLUSTER, TINY
from .slurm import NODES, until

pytestmark = pytest.mark.cluster
BASE, OTHER = (f"checkpoints/base/shapes/overlap/4/s{seed}" for seed in (0, 1))


@pytest.fixture
def tiny(begin, undisturbed):
    """Begins a study with data, but nothing trained."""

    def tiny(**params):
        study = begin("study", {**TINY, **params})
        shutil.copytree(undisturbed.path / "data", study.path / "data")
        return study

    return tiny


def training(study, run):
    """The process that trains the base, held up after it has learned something; and its Slurm job."""
    until(lambda: "epoch 1/" in study.log(BASE) or run.ended(), run.output)
    jobs = [each for each in study.working() if each.cmdline()[1:3] == ["-m", "pipeline.job"]]
    [process] = [each for each in jobs if BASE in each.cmdline()[-1]]
    process.suspend()
    return process, process.environ()["SLURM_JOB_ID"]


def test_a_run_of_every_rule_has_the_results_of_a_local_run(begin, slurm):
    params = {**TINY, "runs": [{**TINY["runs"][0], "scenario": [4, 2], "method": ["kd", "dkd-m"]}]}
    here, there = begin("here", params), begin("there", params)
    with here.start("--cores", "1") as local, there.start(*CLUSTER) as remote:
        remote.end()
        local.end()
    assert there.digests() == here.digests()
    records = there.records().values()
    assert {record["rule"] for record in records} == set(RULES)
    # What takes seconds is done where the run is.
    assert {record["machine"]["node"] for record in records if not RULES[record["rule"]].light} == set(NODES)
    assert not {record["machine"]["node"] for record in here.records().values()} & set(NODES)


def test_a_training_that_is_cancelled_goes_on_where_it_was(tiny, slurm, undisturbed):
    study = tiny()
    with study.start("base_all", *CLUSTER) as run:
        _, job = training(study, run)
        # Wakes all processes of the job, and ends them.
        slurm.call("scancel", job)
        output = run.end()
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in output
    assert "continues after iteration" in study.log(BASE)
    assert study.digests() == undisturbed.digests()


def test_a_training_longer_than_the_time_limit_goes_on_where_it_was(tiny, slurm, undisturbed):
    study = tiny()
    with study.start("base_all", *CLUSTER, "--set-resources", "base:runtime=1") as run:
        training(study, run)
        output = run.end()
    assert "SLURM status is: 'TIMEOUT'" in output
    assert "continues after iteration" in study.log(BASE)
    assert study.digests() == undisturbed.digests()


def test_a_training_goes_on_where_it_was_when_its_node_is_lost(tiny, slurm, undisturbed):
    study = tiny(runtime={"save_minutes": 0.0001})
    with study.start("base_all", *CLUSTER) as run:
        _, job = training(study, run)
        [node] = slurm.jobs("-j", job, form="%N")
        slurm.kill(node, everything=True)
        slurm.wait_no_longer(job)
        run.end()
    assert "continues after iteration" in study.log(BASE)
    assert study.digests() == undisturbed.digests()
    assert study.record(BASE)["machine"] == {"node": (set(NODES) - {node}).pop(), "gpu": None, "slurm_job": job}


def test_a_job_that_slurm_lost_and_the_one_it_started_instead_do_not_meet(tiny, slurm, undisturbed):
    study = tiny()
    with study.start("base_all", *CLUSTER) as run:
        process, job = training(study, run)
        [node] = slurm.jobs("-j", job, form="%N")
        slurm.kill(node, everything=False)
        slurm.wait_no_longer(job)
        until(lambda: "another job is at work on this; waiting" in study.log(BASE), slurm.report)
        process.resume()
        run.end()
    # The first has finished its work, and there was none for the second.
    assert study.record(BASE)["machine"]["node"] == node
    assert study.log(BASE).count("epoch 40/40") == 1 and "unchanged" in study.log(BASE)
    assert study.digests() == undisturbed.digests()


def test_gpus_are_those_that_slurm_hands_out(tiny, slurm):
    study = tiny(runs=[{**TINY["runs"][0], "seed": [0, 1]}])
    # Where jobs take what there is, GPUs can be asked for all the same.
    with study.start("base_all", *CLUSTER, "--set-resources", "base:gpu=1") as run:
        first, _ = training(study, run)
        # Both have number 0 of their node, and none waits for the other.
        until(lambda: "epoch 40/40" in study.log(OTHER) or run.ended(), run.output)
        first.resume()
        run.end()
    assert [study.record(place)["machine"]["gpu"] for place in (BASE, OTHER)] == ["0", "0"]


def test_cuda_on_a_node_without_is_an_error_and_no_slow_training(tiny, slurm):
    study = tiny(runtime={"device": "cuda"})
    output = study.slurm("base_all", "--retries", "0", expect=1)
    assert "device 'cuda': no CUDA device is available" in output.splitlines()[-1]
    assert "gpu 0" in study.log(BASE) and "epoch" not in study.log(BASE)


def test_jobs_that_need_more_than_there_is_end_in_clear_messages(tiny, slurm, undisturbed):
    study = tiny()
    shutil.copytree(undisturbed.path / "checkpoints", study.path / "checkpoints")
    asked = ("increment:mem_mb=100000", "evaluate:runtime=1000", "panels:gpu=5")
    output = study.slurm("--retries", "0", "--set-resources", *asked, expect=1)
    assert "Memory specification can not be satisfied" in output
    assert "dkd: Slurm will never start job" in output
    assert "Requested node configuration is not available" in output


def test_nothing_is_left_of_a_run_that_is_stopped(tiny, slurm):
    study = tiny()
    with study.start("base_all", *CLUSTER) as run:
        training(study, run)
        run.process.send_signal(signal.SIGINT)
        run.end(expect=1)
    until(lambda: not slurm.jobs() and not study.working(), slurm.report)
    assert study.states()


def test_processes_on_two_nodes_train_what_two_on_one_machine_do(tiny, begin, slurm):
    params = {"runtime": {"processes": 2}, "base": {"epochs": 2}}
    study, here = tiny(**params), begin("here", {**TINY, **params})
    study.slurm("base_all", "--config", "nodes=2")
    here.local("base_all")
    assert study.digests() == here.digests()
    record = study.record(BASE)
    assert slurm.jobs("--states=all", "-j", record["machine"]["slurm_job"], form="%N") == ["node[1-2]"]
    assert record["cost"]["processes"] == 2
