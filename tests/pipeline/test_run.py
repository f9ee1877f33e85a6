"""What the Snakefile asks of a run; how Snakemake goes on from there is tested in tests/workflow."""

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.api import ResourceSettings, SnakemakeApi
from snakemake.resources import Resources
from snakemake.settings.types import DAGSettings, DeploymentSettings
from snakemake.utils import format as snakemake_format
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import DeploymentMethod

from pipeline import ROOT, locks, plan, provenance, publish, run, store
from pipeline.plan import STAMP
from pipeline.rules import RULES
from tests.pipeline.conftest import SHAPES, lay_pictures

BASE = "base/shapes/overlap/4/s0"
STEP = "increment/shapes/overlap/4+1/dkd-s0"


@pytest.fixture
def begin(workplace, monkeypatch):
    """A run with some of Snakemake's options, as the Snakefile begins it."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    begun = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    filters = list(logging.getLogger("snakemake.logging").filters)

    def begin(main=True, config=None, deployment=(), nodes=None, minutes=None, **settings):
        asked = {} if minutes is None else {"default_resources": Resources.from_mapping({"runtime": minutes})}
        workflow = SimpleNamespace(
            is_main_process=main,
            resource_settings=ResourceSettings(cores=1, nodes=nodes, **asked),
            executor_plugin=SimpleNamespace(name="local"),
            dag_settings=DAGSettings(**settings),
            deployment_settings=DeploymentSettings(set(deployment)),
            global_resources={},
            dag=SimpleNamespace(forcefiles=set()),
            persistence=SimpleNamespace(),
            snakemake_tmp_dir=None,
        )
        begun.append(run.Run(workflow, config or {}))
        return begun[-1]

    yield begin
    for each in begun:
        if each._lock:
            each._lock.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.getLogger("snakemake.logging").filters = filters


def forced(current):
    """The last files of nodes that are there, which Snakemake is told to make."""
    assert current._states
    return current.workflow.dag.forcefiles


def test_a_missing_node_needs_its_inputs_and_a_good_one_does_not(workplace, begin):
    step, base = workplace.folder(STEP), workplace.folder(BASE)
    assert f"{base}/{STAMP}" in begin().inputs(step) and len(begin().inputs(step)) == 4
    assert forced(begin()) == set(), "what is missing is made by Snakemake of its own accord"
    workplace.make()
    assert begin().inputs(step) == []
    Path(base).rename("elsewhere")
    # All of the run: the base is made, and then it is seen whether the step is to be made again.
    assert f"{base}/{STAMP}" in begin().inputs(step)
    # The step alone, which is good.
    assert begin(targets={f"{step}/{STAMP}"}).inputs(step) == []


def test_what_is_there_but_not_good_is_made_again(workplace, begin):
    workplace.make()
    step = workplace.folder(STEP)
    Path(step, "step.json").unlink()
    current = begin()
    assert {name.split("-")[0] for name in forced(current)} == {
        f"checkpoints/{STEP}".split("-")[0],
        *("checkpoints/increment/shapes/overlap/4+1+1/dkd", "summary/report", "report/page"),
        *(f"{top}/shapes/overlap/{scope}/dkd" for top in ("results", "panels") for scope in ("4+1", "4+1+1")),
    }
    # A job on another machine is told by the run that started it.
    current.start()
    assert begin(main=False).inputs(step) == []


def test_what_is_forced_is_made_anew_by_node_by_rule_or_all(workplace, begin):
    workplace.make()
    step, last = workplace.folder(STEP), workplace.folder("increment/shapes/overlap/4+1+1/dkd-s0")
    for options, folders in [
        ({}, []),
        ({"forcerun": {f"{step}/{STAMP}"}}, [step]),
        ({"forcerun": {"increment"}}, [step, last]),
        ({"forceall": True}, list(workplace.plan.nodes)),
        ({"targets": {f"{step}/{STAMP}"}, "forcetargets": True}, [step]),
        ({"targets": {f"{step}/{STAMP}"}}, []),
    ]:
        current = begin(**options)
        assert {f"{folder}/{STAMP}" for folder in folders} <= forced(current)
        assert current.plan.redo == folders


def test_under_dvc_what_a_stage_records_is_read(workplace, begin, monkeypatch):
    workplace.make()
    Path("dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    path = Path(workplace.folder(BASE), "step.json")
    path.write_text(path.read_text().upper())
    monkeypatch.setenv("DVC_STAGE", "increment")
    assert begin()._states[workplace.folder(BASE)].name == "present"
    monkeypatch.setenv("DVC_STAGE", "dvc.yaml:base")
    current = begin()
    assert current._states[workplace.folder(BASE)].name == "damaged" and current.plan.verify == ["base"]
    monkeypatch.delenv("DVC_STAGE")
    assert begin(config={"verify": 1})._states[workplace.folder(BASE)].name == "damaged"


def test_under_dvc_raw_data_that_it_does_not_watch_is_named(workplace, begin, monkeypatch, tmp_path):
    lay_pictures(tmp_path / "own", "a", "b")
    own = {"dataset": "own", "scenario": "1-1", "method": "dkd", "set": {"data": {"root": "own"}}}
    workplace.params(runs=[own])
    Path("dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    begin()
    monkeypatch.setenv("DVC_STAGE", "data")
    with pytest.raises(SystemExit, match=r"^dkd: dvc\.yaml does not watch the raw data own/classes\.txt"):
        begin()


def test_what_is_published_but_outdated_is_published(workplace, begin):
    workplace.make()
    assert forced(begin()) == {f"{workplace.folder('report/page')}/{STAMP}"}
    publish.publish(workplace.plan)
    assert forced(begin()) == set()


def test_reading_the_workflow_writes_nothing(workplace, begin):
    workplace.make()
    Path(workplace.folder(STEP), "step.json").unlink()
    before = {path: path.lstat().st_mtime_ns for path in Path().rglob("*")}
    current = begin()
    forced(current), current.command()
    for folder in workplace.plan.nodes:
        current.inputs(folder)
    assert {path: path.lstat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_run_takes_the_lock_and_leaves_its_plan_for_the_jobs(workplace, begin):
    for left in (store.FAILED, store.SCRATCH):
        (left / "0").mkdir(parents=True)
    current = begin(forcerun={"base"})
    forced(current)
    current.start()
    assert json.loads(locks.RUN.read_text())["pid"] == os.getpid()
    assert plan.load("") == replace(current.plan, nodes={}) and current.plan.redo == [workplace.folder(BASE)]
    assert not store.FAILED.exists() and not store.SCRATCH.exists()
    # A job that runs on another machine knows the run from that file, whatever params.yaml says by then.
    Path("params.yaml").unlink()
    job = begin(main=False)
    assert job.plan == replace(current.plan, nodes={})


def test_a_run_that_another_one_was_faster_than_looks_again(begin, monkeypatch):
    def execute(*command):
        raise SystemExit(command)

    monkeypatch.setattr(run.os, "execv", execute)
    current = begin()
    locks.lock(wait=True)[0].close()
    with pytest.raises(SystemExit) as caught:
        current.start()
    assert caught.value.code == (sys.executable, [sys.executable, *sys.orig_argv[1:]])
    current._lock.close()
    begin().start()


def test_a_second_run_that_does_not_want_to_wait_ends_in_one_line(begin):
    begin().start()
    with pytest.raises(SystemExit, match=r"^dkd: another run, process .* is at work in this directory; try again when"):
        begin(config={"no_wait": 1}).start()


def test_params_that_do_not_work_end_the_process_with_one_line(begin):
    Path("params.yaml").write_text("runs: 3")
    with pytest.raises(SystemExit, match=r"^dkd: params.yaml: runs: expected a list"):
        begin()


def test_a_folder_that_nobody_planned_ends_the_process_with_one_line(begin):
    with pytest.raises(SystemExit, match=r"^dkd: results/a-000000000000 is not part of the plan"):
        begin().inputs("results/a-000000000000")


def test_as_many_jobs_compute_at_once_as_have_gpus_of_their_own(workplace, begin, monkeypatch):
    monkeypatch.setenv(locks.VISIBLE, "a,b,c")
    assert begin().workflow.global_resources == {"gpu": 3}
    monkeypatch.setenv(locks.VISIBLE, "")
    assert begin().workflow.global_resources == {}


def test_jobs_take_as_many_cores_and_gpus_as_they_have_processes(workplace, monkeypatch):
    workplace.params(runs=[SHAPES], runtime={"threads": 3, "processes": 2})
    monkeypatch.setenv(locks.VISIBLE, "a,b,c")
    with SnakemakeApi() as api:
        workflow = api.workflow(ResourceSettings(cores=8), snakefile=ROOT / "Snakefile", workdir=Path.cwd())._workflow
        found = {rule.name: rule.resources for rule in workflow.rules}
    assert [found[rule]["_cores"].value for rule in ("index", "base", "panels")] == [3, 6, 3]
    assert [found[rule]["gpu"].value for rule in ("index", "base", "panels")] == [0, 2, 1]


def test_what_jobs_ask_a_scheduler_for_follows_from_params_and_not_from_this_machine(workplace, begin, monkeypatch):
    workplace.params(runs=[SHAPES], runtime={"device": "cuda", "processes": 2})
    monkeypatch.setenv(locks.VISIBLE, "")
    asked = begin(nodes=4)
    found = {rule: asked.resources(rule) for rule in ("index", "base", "panels")}
    assert found == {"index": {"gpu": 0}, "base": {"gpu": 2}, "panels": {"gpu": 1}}
    monkeypatch.setenv(locks.VISIBLE, "0")
    asked = begin(nodes=4)
    assert {rule: asked.resources(rule) for rule in found} == found and asked.workflow.global_resources == {}
    # What a job reads when it starts is the same.
    asked.start()
    assert begin(main=False).plan.requests["base"] == {"gpu": 2}
    workplace.params(runs=[SHAPES], runtime={"device": "cpu"})
    assert begin(nodes=4).resources("base") == {"gpu": 0}


def test_a_scheduler_is_told_what_like_jobs_took(workplace, begin):
    workplace.make()
    for place, seconds in ((BASE, 3000.0), (STEP, 100_000.0)):
        stamp = Path(workplace.folder(place), STAMP)
        record = json.loads(stamp.read_text())
        stamp.write_text(json.dumps({**record, "seconds": seconds, "memory_bytes": 2**30}))
    again = {**SHAPES, "seed": 1}
    workplace.params(runs=[again])
    asked = begin(nodes=4, minutes=240)
    assert asked.resources("base") == {"gpu": 0, "mem_mb": 1536, "runtime": 110}
    # Never for more than the profile does.
    assert asked.resources("increment")["runtime"] == 240
    # Of another recipe, other devices or another data set, nothing is known.
    workplace.params(runs=[again], increment={"epochs": 100})
    assert begin(nodes=4, minutes=240).resources("increment") == {"gpu": 0}
    workplace.params(runs=[again], runtime={"device": "cuda"})
    assert begin(nodes=4, minutes=240).resources("base") == {"gpu": 1}
    lay_pictures(Path("garden"), *"abcd")
    workplace.params(runs=[again, {**again, "dataset": "garden", "set": {"data": {"root": "garden"}}}])
    assert begin(nodes=4, minutes=240).resources("base") == {"gpu": 0}
    # What was left of a training when it was resumed says little of the next one.
    stamp = Path(workplace.folder(BASE.replace("s0", "s1")), STAMP)
    workplace.params(runs=[again])
    workplace.make(str(stamp.parent))
    record = json.loads(stamp.read_text())
    stamp.write_text(json.dumps({**record, "cost": {"resumed_at": 3}, "seconds": 7e6, "memory_bytes": 2**40}))
    assert begin(nodes=4, minutes=240).resources("base")["runtime"] == 110


def test_a_device_that_the_scheduler_is_not_asked_for_is_said(begin, capsys):
    begin(nodes=4).start()
    assert "dkd: runtime.device: auto asks the scheduler for no GPU" in capsys.readouterr().err


def test_processes_go_to_several_nodes_where_the_profile_asks_for_it(workplace, begin):
    workplace.params(runs=[SHAPES], runtime={"device": "cuda", "processes": 4, "threads": 2})
    asked = begin(nodes=4, config={"nodes": 2})
    over = {"nodes": 2, "tasks": 2, "cpus_per_task": 4, "mpi": "profiles/slurm/nodes.py"}
    assert asked.resources("base") == {"gpu": 4, **over} and asked.resources("panels") == {"gpu": 1}
    with pytest.raises(SystemExit, match=r"^dkd: --config nodes=3: runtime\.processes, 4, is not a multiple of it"):
        begin(nodes=4, config={"nodes": 3})


@pytest.fixture
def awkward(tmp_path, monkeypatch):
    """A working directory with a name that shells and format strings have ways of their own with."""
    place = tmp_path / "my work {1}"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def test_the_command_of_a_job_makes_its_node(workplace, begin, awkward):
    runs = [{**SHAPES, "set": {"data": {"shapes": {"size": 32, "train": 6, "val": 2}}}}]
    Path("params.yaml").write_text(yaml.safe_dump({"runs": runs}))
    current = begin()
    current.start()
    [draw] = current.plan.of("draw")
    files = SimpleNamespace(provenance=f"{draw.folder}/{STAMP}")
    line = snakemake_format(current.command(), output=files)
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "draw shapes: done" in done.stderr and draw.log.is_file()
    assert provenance.damage(Path(draw.folder), draw.key, verify=True) is None
    assert set(provenance.read(Path(draw.folder))["files"]) > set(RULES["draw"].files)


def test_the_command_names_the_interpreter_of_this_process_or_of_the_environment(begin, monkeypatch):
    assert f" {shlex.quote(sys.executable)} -m pipeline.job {shlex.quote(str(Path.cwd()))} " in begin().command()
    assert " python -m pipeline.job " in begin(deployment=[DeploymentMethod.CONDA]).command()


def test_a_job_takes_the_place_of_its_shell(begin, tmp_path):
    """The process that a scheduler signals, and for whose end it waits, is the one that saves the training."""
    (tmp_path / "python").write_text("#!/bin/sh\necho $$\n")
    (tmp_path / "python").chmod(0o755)
    files = SimpleNamespace(provenance=STAMP)
    line = snakemake_format(begin(deployment=[DeploymentMethod.CONDA]).command(), output=files)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shell = subprocess.Popen(["bash", "-c", f"set -euo pipefail; {line}"], stdout=subprocess.PIPE, env=environment)
    assert int(shell.communicate()[0]) == shell.pid


def test_a_run_that_succeeds_publishes_and_archives(workplace, begin, capsys):
    workplace.make()
    old = workplace.folder(BASE)
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    workplace.make()
    begin().succeed()
    table = Path(workplace.folder("summary/report"), "table.txt").read_text()
    assert capsys.readouterr().out == f"{table}\ntables and figures: metrics/, page: report/index.html\n"
    assert not publish.outdated(workplace.plan) and Path(store.ARCHIVE, old, STAMP).exists()
    begin().succeed()
    assert capsys.readouterr().out == ""


def test_a_run_that_fails_says_why_as_its_last_lines(workplace, begin, monkeypatch):
    last = []
    monkeypatch.setattr(run.atexit, "register", lambda do, *lines, **options: last.append("\n".join(lines)))
    current = begin()
    current.fail()
    assert last == [], "nothing failed but Snakemake itself"
    store.FAILED.mkdir(parents=True)
    for place in (BASE, STEP):
        (store.FAILED / workplace.folder(place)[-12:]).write_text("dkd: no memory (base, log: a.log)")
    current.fail()
    page = "page of what there is, with what failed: report/index.html"
    assert last.pop() == f"{page}\ndkd: no memory (base, log: a.log)"
    assert Path("report/index.html").is_file()
    workplace.stage("page", lambda *given: 1 / 0)
    current.fail()
    assert last.pop() == "no page could be made of what there is: division by zero\ndkd: no memory (base, log: a.log)"


@pytest.mark.parametrize("nodes", [None, 2])
def test_sigterm_ends_jobs_and_does_not_wait_for_those_in_a_queue(begin, nodes):
    """Without a queue, Snakemake waits for the jobs, which end by themselves."""
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append("snakemake waits"))
    begin(nodes=nodes).start()
    assert locks.holder()["started"]
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        heard.append("cancelled")
    assert heard == ["cancelled" if nodes else "snakemake waits"] and locks.holder()["started"] is None


class Asking(RemoteExecutor):
    """An executor that has submitted two jobs, and asks after them until `answered`."""

    run_job = None

    def __init__(self):
        self.lock, self.wait, self.active_jobs, self.cancelled = threading.Lock(), True, ["a", "b"], []
        self.asked, self.answered = threading.Event(), threading.Event()
        self.workflow = SimpleNamespace(
            executor_plugin=SimpleNamespace(common_settings=SimpleNamespace(init_seconds_before_status_checks=0)),
            remote_execution_settings=SimpleNamespace(immediate_submit=True, seconds_between_status_checks=0),
            scheduler=None,
        )
        self._next_seconds_between_status_checks = None
        self.wait_thread = threading.Thread(target=self._wait_thread, daemon=True)
        self.wait_thread.start()

    async def check_active_jobs(self, active_jobs):
        self.asked.set()
        self.answered.wait(60)
        for job in active_jobs:
            yield job

    def cancel_jobs(self, active_jobs):
        assert active_jobs
        self.cancelled += active_jobs


def test_jobs_that_snakemake_is_asking_after_are_cancelled_as_well(begin):
    begin()
    executor = Asking()
    assert executor.asked.wait(60) and not executor.active_jobs
    executor.active_jobs.append("submitted meanwhile")
    stopping = threading.Thread(target=executor.cancel)
    stopping.start()
    executor.answered.set()
    stopping.join(60)
    assert sorted(executor.cancelled) == ["a", "b", "submitted meanwhile"]
