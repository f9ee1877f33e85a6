import errno
import json
import os
import platform
import signal
from pathlib import Path

import psutil
import pytest

from dkd.errors import InputError
from pipeline import plan as plans
from pipeline import store
from pipeline.rules import FOLDERS

SHAPES = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}
RUN = """
from pipeline import store
held, before = store.lock()
print(before and before["pid"], flush=True)
input()
"""
JOB = "from pipeline import store; held = store.join(); print(flush=True); input()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + JOB


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def present(plan):
    return {folder for folder in plan.nodes if Path(folder, plans.STAMP).exists()}


def test_a_second_run_waits_for_the_first(here, start):
    first = start(RUN)
    assert first.stdout.readline() == "None\n"
    second = start(RUN)
    where = f"process {first.pid} on {platform.node()}"
    assert second.stderr.readline() == f"dkd: another run, {where}, is at work in this directory; waiting\n"
    first.kill()
    assert second.stdout.readline() == f"{first.pid}\n"


def test_a_run_that_does_not_want_to_wait_is_refused_in_one_line(here, start):
    first = start(RUN)
    first.stdout.readline()
    line = f"another run, process {first.pid} on {platform.node()}, is at work in this directory; try again when it"
    with pytest.raises(InputError, match=line):
        store.lock(wait=False)
    first.communicate("\n")
    held, before = store.lock(wait=False)
    assert before["pid"] == first.pid
    assert json.loads(store.RUN_LOCK.read_text())["pid"] == os.getpid()
    held.close()


def test_jobs_end_with_their_run_and_keep_the_next_one_waiting(here, start):
    run = start(RUN)
    run.stdout.readline()
    job, stubborn = start(JOB), start(STUBBORN)
    assert job.stdout.readline() == stubborn.stdout.readline() == "\n"
    run.kill()
    assert job.wait(timeout=60) == -signal.SIGTERM
    following = start(RUN)
    assert following.stderr.readline() == "dkd: jobs of an earlier run have not ended yet; waiting\n"
    stubborn.kill()
    # What those jobs have left is not what was there before.
    assert following.stdout.readline() == "None\n"


@pytest.mark.parametrize("holder", ["", "{", "[]", "{}"])
def test_a_job_without_a_run_is_refused(here, holder):
    store.RUN_LOCK.parent.mkdir(parents=True)
    store.RUN_LOCK.write_text(holder)
    with pytest.raises(InputError, match="the run that this job belongs to has ended; jobs are started by snakemake"):
        store.join()


def test_another_process_of_the_same_number_is_not_the_run(here, monkeypatch):
    monkeypatch.setattr(store, "_end_with", lambda run: None)
    store.RUN_LOCK.parent.mkdir(parents=True)
    holder = {"pid": os.getpid(), "started": psutil.Process().create_time() - 100, "host": platform.node()}
    store.RUN_LOCK.write_text(json.dumps(holder))
    with pytest.raises(InputError, match="has ended"):
        store.join()
    # Processes of another machine can't be seen from here.
    store.RUN_LOCK.write_text(json.dumps({**holder, "host": "another-machine"}))
    store.join().close()


def test_a_run_can_end_its_jobs_and_starts_no_more(here, start):
    run = start(RUN)
    run.stdout.readline()
    job = start(JOB)
    assert job.stdout.readline() == "\n"
    store.end_jobs()
    assert job.wait(timeout=60) == -signal.SIGTERM
    with pytest.raises(InputError, match="has ended"):
        store.join()
    assert run.poll() is None and store.holder()["pid"] == run.pid


def test_a_file_system_without_locks_is_named_in_one_line(here, monkeypatch):
    def refuse(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(store.fcntl, "flock", refuse)
    with pytest.raises(
        InputError, match=r"^\.dkd/lock/run: no locks on this file system \(.+\); work on one that supports flock"
    ):
        store.lock()


def test_every_folder_that_dvc_follows_is_laid_out(here):
    store.lay_out()
    Path("results", ".gitignore").write_text("mine")
    store.lay_out()
    assert all(Path(top, ".gitignore").is_file() for top in FOLDERS)
    assert Path("results", ".gitignore").read_text() == "mine"


def test_folders_that_a_job_is_about_to_fill_are_left_alone(workplace):
    draw = Path(workplace.folder("made/shapes"))
    draw.mkdir(parents=True)
    store.prune(workplace.plan)
    assert draw.is_dir()


def test_there_and_back_again_makes_nothing_twice(workplace):
    workplace.make()
    first = workplace.plan
    workplace.params(runs=[SHAPES], increment={"lr": 0.5})
    assert len(workplace.make()) == 8
    store.prune(workplace.plan)
    second = workplace.plan
    assert present(first) == first.nodes.keys() & second.nodes.keys()
    assert present(second) == set(second.nodes)
    workplace.params(runs=[SHAPES])
    assert workplace.make() == []
    store.prune(workplace.plan)
    assert present(first) == set(first.nodes)
    assert present(second) == first.nodes.keys() & second.nodes.keys()


def test_prune_leaves_no_empty_folders_and_other_peoples_files(workplace):
    workplace.make()
    notes = Path("results/notes.txt")
    notes.write_text("mine")
    workplace.params(runs=[{**SHAPES, "setting": "disjoint"}])
    store.prune(workplace.plan)
    assert notes.read_text() == "mine"
    assert not Path("results/shapes").exists() and Path("results").is_dir()
    assert Path(workplace.folder("index/shapes")).is_dir()


def test_prune_keeps_one_archived_version_of_each_node(workplace):
    """The last one, where a node was archived, made anew, and is not asked for again."""
    base = workplace.folder("base/shapes/overlap/4/s0")
    workplace.make()
    other = [{**SHAPES, "seed": 1}]
    workplace.params(runs=other)
    store.prune(workplace.plan)
    workplace.params(runs=[SHAPES])
    workplace.write("base", "anew")
    workplace.make(redo=[base])
    workplace.params(runs=other)
    store.prune(workplace.plan)
    assert Path(store.ARCHIVE, base, "step.json").read_text() == "anew"


def test_a_node_is_found_in_its_place_then_in_the_archive_then_in_that_of_earlier_versions(here):
    folder = "results/shapes/s0-0123456789ab"
    assert store.find(folder) is None
    for base in (Path(".dkd/attic"), store.ARCHIVE, Path()):
        (base / folder).mkdir(parents=True)
        (base / folder / plans.STAMP).touch()
        assert store.find(folder) == base / folder


def test_what_lies_in_the_way_of_a_node_is_set_aside(here):
    folder, source = Path("results/a-0123456789ab"), Path("made")
    for path in (folder, source):
        (path / "splits").mkdir(parents=True)
    # Snakemake makes folders for outputs; they are no files of anybody.
    store.put(source, folder)
    assert not store.QUARANTINE.exists()
    (folder / "splits" / "a").write_text("old")
    source.mkdir()
    store.put(source, folder)
    assert [path.read_text() for path in store.QUARANTINE.rglob("a")] == ["old"]
    assert folder.is_dir() and not source.exists()


def test_sweep_drops_scratch_and_states_of_what_is_finished(workplace):
    base, step = workplace.folder("base/shapes/overlap/4/s0"), workplace.folder("increment/shapes/overlap/4+1/dkd-s0")
    for node in workplace.plan.of("draw", "index", "split", "base"):
        workplace.make(node.folder)
    for path in (store.SCRATCH / "dead", store.WORK / base[-12:], store.WORK / step[-12:]):
        path.mkdir(parents=True)
    store.sweep()
    assert not store.SCRATCH.exists()
    assert [path.name for path in store.WORK.iterdir()] == [step[-12:]]


def test_long_names_are_one_file_name(here):
    with store.scratch("data/made/shapes-0123456789ab") as short, store.scratch(f"results/{'x' * 300}-01234") as long:
        assert short.name == "data__made__shapes-0123456789ab"
        assert long.name.endswith("x-01234") and len(long.name) == 200
