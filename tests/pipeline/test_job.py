import errno
import hashlib
import json
import logging
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dkd.errors import InputError
from pipeline import ROOT, code_digest, locks, provenance, store
from pipeline import job as jobs
from pipeline.plan import STAMP

BASE = "base/shapes/overlap/4/s0"


def left_behind():
    """All files but params.yaml and locks."""
    return {str(path) for path in Path().rglob("*") if path.is_file() and locks.FOLDER not in path.parents} - {
        "params.yaml"
    }


def test_every_node_is_made_once(workplace):
    assert workplace.make() == list(workplace.plan.nodes)
    before = {path: path.stat().st_mtime_ns for path in Path("data").rglob("*")}
    assert workplace.make() == []
    assert {path: path.stat().st_mtime_ns for path in Path("data").rglob("*")} == before
    assert not list(store.SCRATCH.glob("*"))


def test_a_node_is_restored_from_the_archive(workplace):
    workplace.make()
    base = workplace.folder(BASE)
    (store.ARCHIVE / base).parent.mkdir(parents=True)
    Path(base).rename(store.ARCHIVE / base)
    assert workplace.make(base) == []
    assert Path(base, STAMP).exists() and not Path(store.ARCHIVE, base).exists()


def test_a_damaged_node_is_made_again_and_the_old_one_is_quarantined(workplace):
    workplace.make()
    base = workplace.folder(BASE)
    before = provenance.read(Path(base))["digest"]
    Path(base, "step.json").write_text("damaged")
    assert workplace.make(base) == [base]
    assert [path.read_text() for path in store.QUARANTINE.rglob("step.json")] == ["damaged"]
    assert provenance.read(Path(base))["digest"] == before
    # So that what was made from it need not be made again.
    assert workplace.make() == []


def test_damage_that_only_the_content_shows_is_found_where_the_run_verifies(workplace):
    workplace.make()
    base = workplace.folder(BASE)
    path = Path(base, "step.json")
    path.write_text(path.read_text().upper())
    assert workplace.make(base) == [] and workplace.make(base, verify=["increment"]) == []
    assert workplace.make(base, verify=["base"]) == [base]


def test_what_was_made_from_other_content_is_made_again(workplace):
    workplace.make()
    base = workplace.folder(BASE)
    workplace.write("base", "trained again")
    Path(base, "step.json").unlink()
    workplace.make(base)
    made = workplace.make()
    step = workplace.folder("increment/shapes/overlap/4+1/dkd-s0")
    assert step in made and len(list(store.QUARANTINE.rglob(f"{Path(step).name}-*"))) == 1
    # It came out as it was before, and so all that was made from it is kept.
    assert workplace.folder("increment/shapes/overlap/4+1+1/dkd-s0") not in made
    assert workplace.make() == []


def test_what_is_damaged_in_the_archive_is_made_anew(workplace):
    workplace.make()
    base = workplace.folder(BASE)
    (store.ARCHIVE / base).parent.mkdir(parents=True)
    Path(base).rename(store.ARCHIVE / base)
    Path(store.ARCHIVE, base, "step.json").unlink()
    assert workplace.make(base) == [base]


def test_what_is_made_anew_leaves_the_old_one_in_the_archive_where_nothing_restores_it(workplace):
    workplace.make()
    base = workplace.folder(BASE)
    workplace.write("base", "anew")
    assert workplace.make(base, redo=[base]) == [base]
    assert Path(base, "step.json").read_text() == "anew"
    [old] = (store.ARCHIVE / base).parent.iterdir()
    assert (old / "step.json").read_text().startswith("step.json of") and old.name != Path(base).name
    Path(base).rename("elsewhere")
    assert store.find(base) is None


def test_a_stage_sees_its_params_its_inputs_and_the_runtime(workplace):
    seen = []
    workplace.stage("index", lambda *given: seen.append(given))
    draw, index = workplace.folder("made/shapes"), workplace.folder("index/shapes")
    workplace.make(draw)
    with pytest.raises(InputError, match=r"index shapes: the stage index did not write index\.csv, index\.json"):
        workplace.make(index)
    [(params, runtime, inputs, out)] = seen
    assert params == {"dataset": "shapes", "format": "folder"}
    places = {"work": str(store.WORK / index[-12:]), "logs": "logs", "name": index}
    assert runtime == {**workplace.plan.runtime, **places}
    assert inputs == {"data": Path(draw)}
    assert out.parent == store.SCRATCH


def test_which_gpus_a_rule_has_and_in_how_many_processes(workplace, monkeypatch):
    """Trainings and evaluations are shared by processes; panels and the choice of exemplars are not."""
    monkeypatch.setenv(locks.VISIBLE, "a,b")
    run = {"dataset": "shapes", "scenario": "5-1", "method": "dkd-m"}
    workplace.params(runs=[run], runtime={"processes": 2})
    seen, shared = {}, set()

    def look(rule, work):
        def run(*given):
            taken = [locks.flock(locks.FOLDER / f"gpu-{platform.node()}-{name}", locks.ALONE, None) for name in "ab"]
            free = [file.name[-1] for file, free in taken if free]
            for file, _ in taken:
                file.close()
            seen[rule] = os.environ[locks.VISIBLE], free
            return work(*given)

        return run

    def share(rule, label, log, arguments, number):
        shared.add(rule)
        return sys.modules[f"pipeline.stages.{rule}"].run(*arguments)

    for rule in {node.rule for node in workplace.plan.nodes.values()}:
        workplace.stage(rule, look(rule, sys.modules[f"pipeline.stages.{rule}"].run))
    monkeypatch.setattr(jobs.launch, "run", share)
    for folder in workplace.plan.nodes:
        monkeypatch.setenv(locks.VISIBLE, "a,b")
        workplace.make(folder)
    assert shared == {"base", "increment", "evaluate"}
    assert seen["base"] == seen["increment"] == seen["evaluate"] == ("a,b", [])
    assert seen["memory"] == seen["panels"] == ("a", ["b"])
    assert seen["index"] == seen["summary"] == ("a,b", ["a", "b"])


def test_what_a_stage_does_to_its_params_is_not_recorded(workplace):
    write = sys.modules["pipeline.stages.draw"].run

    def spoil(params, runtime, inputs, out):
        params.clear(), runtime.clear()
        write(params, runtime, inputs, out)

    draw = workplace.folder("made/shapes")
    before = dict(workplace.plan.node(draw).params)
    workplace.stage("draw", spoil)
    workplace.make(draw)
    record = provenance.read(Path(draw))
    assert record["params"] == before == workplace.plan.node(draw).params
    assert record["runtime"] == workplace.plan.runtime != {}


def test_jobs_do_not_load_the_config():
    """So that a param that is not in a node's key is out of reach."""
    code = "import sys; from pipeline import job; print([m for m in sys.modules if m in ('dkd.config', 'pydantic')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_provenance_says_what_a_node_was_made_from_and_holds(workplace):
    def draw_it(params, runtime, inputs, out):
        (out / "splits").mkdir()
        for name in ("classes.txt", "splits/train.txt"):
            (out / name).write_bytes(b"abc")
        return {"images": 7}

    workplace.stage("draw", draw_it)
    draw, index = workplace.folder("made/shapes"), workplace.folder("index/shapes")
    workplace.make(draw, index)
    record = json.loads((Path(draw) / STAMP).read_text())
    planned = workplace.plan.node(draw)
    assert record["schema"] == 1
    assert (record["rule"], record["key"], record["params"]) == ("draw", planned.key, planned.params)
    facts = {"size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert record["files"] == {"classes.txt": facts, "splits/train.txt": facts}
    assert record["cost"] == {"images": 7}
    assert "pipeline.stages.draw" in record["code"] and "dkd.data.shapes" in record["code"]
    assert code_digest.digest(record["code"]) == planned.code
    assert record["runtime"] == workplace.plan.runtime
    assert record["started"] <= record["finished"] and record["seconds"] >= 0
    used = json.loads((Path(index) / STAMP).read_text())["inputs"]
    assert used == {"data": {"path": draw, "key": planned.key, "digest": record["digest"]}}


def test_a_stage_that_fails_leaves_nothing(workplace):
    def fail(params, runtime, inputs, out):
        (out / "half").write_text("half")
        raise ValueError("no")

    draw = workplace.folder("made/shapes")
    Path(draw, "splits").mkdir(parents=True)  # as Snakemake does for outputs in there
    workplace.stage("draw", fail)
    with pytest.raises(ValueError, match="no"):
        workplace.make(draw)
    assert not left_behind()
    assert not Path(draw).exists()


def test_promised_files_must_be_there(workplace):
    draw = workplace.folder("made/shapes")
    workplace.stage("draw", lambda params, runtime, inputs, out: None)
    with pytest.raises(InputError, match=r"draw shapes: the stage draw did not write classes\.txt, splits/train\.txt"):
        workplace.make(draw)
    assert not left_behind()


def test_scratch_of_a_killed_job_is_emptied_first(workplace):
    draw = workplace.folder("made/shapes")
    with store.scratch(draw) as scratch:
        pass
    scratch.mkdir()
    (scratch / "half").write_text("half")
    workplace.make(draw)
    assert not Path(draw, "half").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from types import ModuleType
from pipeline import job, plan, store
moment, folder = sys.argv[1:]
def die(*given, **options):
    os.kill(os.getpid(), signal.SIGKILL)
def run(params, runtime, inputs, out):
    for place in (Path(runtime["work"]), out):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("classes.txt", "splits/train.txt"):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text("killed")
    if moment == "working":
        die()
    if moment == "renaming":
        Path.rename = die
    if moment == "renamed":
        store.put = lambda *given, put=store.put: (put(*given), die())
stage = sys.modules["pipeline.stages.draw"] = ModuleType("pipeline.stages.draw")
stage.run = run
job.make(plan.load(folder), folder)
"""


@pytest.mark.parametrize("moment", ["working", "renaming", "renamed"])
def test_killed_at_any_moment_a_node_is_there_or_is_not(workplace, start, moment):
    draw = workplace.folder("made/shapes")
    workplace.plan.save()
    assert start(KILLED, moment, draw).wait(timeout=60) == -signal.SIGKILL
    assert Path(draw, STAMP).exists() == (moment == "renamed")
    assert [work.name for work in store.WORK.iterdir()] == [draw[-12:]]
    assert workplace.make(draw) == ([] if moment == "renamed" else [draw])
    assert (Path(draw, "classes.txt").read_text() == "killed") == (moment == "renamed")
    store.prepare()
    assert not list(store.WORK.iterdir()) and not store.SCRATCH.exists()


def test_the_state_of_an_unfinished_node_stays(workplace):
    draw = workplace.folder("made/shapes")

    def fail(params, runtime, inputs, out):
        Path(runtime["work"]).mkdir(parents=True)
        raise InputError("no")

    workplace.stage("draw", fail)
    with pytest.raises(InputError):
        workplace.make(draw)
    store.prune(workplace.plan)
    assert [work.name for work in store.WORK.iterdir()] == [draw[-12:]]


def test_an_unfinished_folder_in_the_way_is_set_aside(workplace):
    draw = workplace.folder("made/shapes")
    Path(draw).mkdir(parents=True)
    Path(draw, "notes.txt").write_text("mine")
    workplace.make(draw)
    assert not Path(draw, "notes.txt").exists()
    assert [path.read_text() for path in store.QUARANTINE.rglob("notes.txt")] == ["mine"]


def test_a_folder_that_nobody_planned_is_refused(workplace):
    with pytest.raises(InputError, match="data/made/shapes-000000000000 is not part of the plan of the current"):
        workplace.make("data/made/shapes-000000000000")


def test_a_missing_input_is_named(workplace):
    index, draw = workplace.folder("index/shapes"), workplace.folder("made/shapes")
    with pytest.raises(InputError, match=f"input {draw} is not there any more"):
        workplace.make(index)


def test_code_that_changed_since_the_plan_was_made_is_refused(workplace, monkeypatch):
    draw = workplace.folder("made/shapes")
    monkeypatch.setattr(code_digest.Code, "closure", lambda self, entries: {"pipeline.stages.draw": "edited"})
    with pytest.raises(InputError, match="draw shapes: code changed since the run started; start again"):
        workplace.make(draw)
    assert workplace.made == []
    assert not left_behind()


@pytest.fixture
def job(workplace, monkeypatch):
    """A node's job as Snakemake starts it, but in this process, which is its run, too: returns its exit status."""
    held, _ = locks.lock(wait=True)
    monkeypatch.setattr(locks, "_end_with", lambda holder: None)
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(logging.getLogger("dkd"), name, getattr(logging.getLogger("dkd"), name))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def job(folder, **options):
        workplace.asked(**options).save()
        monkeypatch.setattr(sys, "argv", ["job", ".", f"{folder}/{STAMP}"])
        try:
            return jobs.main()
        finally:
            for handler in logging.getLogger("dkd").handlers:
                handler.close()

    yield job
    held.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def log_of(workplace, place="made/shapes"):
    return workplace.plan.node(workplace.folder(place)).log


def test_a_job_tells_the_terminal_and_its_log(workplace, job, capsys):
    write = sys.modules["pipeline.stages.draw"].run

    def speak(*given):
        logging.getLogger("dkd").info("epoch 1 of 1")
        write(*given)

    workplace.stage("draw", speak)
    assert job(workplace.folder("made/shapes")) == 0
    assert capsys.readouterr().err == "draw shapes: epoch 1 of 1\ndraw shapes: done in 0 s\n"
    assert log_of(workplace).read_text().count("INFO epoch 1 of 1\n") == 1
    assert job(workplace.folder("made/shapes")) == 0
    assert capsys.readouterr().err == "draw shapes: unchanged\n"


def test_a_job_says_why_it_makes_a_node_again(workplace, job, capsys):
    draw = workplace.folder("made/shapes")
    workplace.make(draw)
    Path(draw, "classes.txt").unlink()
    assert job(draw) == 0
    line = "draw shapes: made again: classes.txt is missing; the old one goes to .dkd/quarantine\n"
    assert capsys.readouterr().err.startswith(line)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("too few pictures"), "dkd: too few pictures"),
        (
            OSError(errno.ENOSPC, "No space left on device", "model"),
            "dkd: model: No space left on device; free some space there and start again",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "dkd: .dkd/scratch: No space left on device; free some space there and start again",
        ),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), "dkd: a -> b: Invalid cross-device link"),
    ],
)
def test_what_the_user_can_correct_is_one_line(workplace, job, capsys, error, line):
    def fail(*given):
        raise error

    workplace.stage("draw", fail)
    draw = workplace.folder("made/shapes")
    assert job(draw) == 1
    assert capsys.readouterr().err == f"{line}\n"
    assert "Traceback" in log_of(workplace).read_text()
    assert (store.FAILED / draw[-12:]).read_text() == f"{line} (draw shapes, log: {log_of(workplace)})"
    assert not Path(draw).exists() and not list(store.SCRATCH.iterdir())
    # The next try does better.
    workplace.write("draw", "drawn")
    assert job(draw) == 0 and not list(store.FAILED.glob("*"))


def test_a_defect_shows_its_traceback(workplace, job):
    workplace.stage("draw", lambda *given: 1 / 0)
    draw = workplace.folder("made/shapes")
    with pytest.raises(ZeroDivisionError):
        job(draw)
    assert "ZeroDivisionError" in log_of(workplace).read_text()
    assert (store.FAILED / draw[-12:]).read_text().startswith("dkd: ZeroDivisionError: division by zero (draw shapes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_stopped_leaves_nothing_half_made(workplace, job, capsys, number):
    def work(params, runtime, inputs, out):
        (out / "half").write_text("half")
        os.kill(os.getpid(), number)
        pytest.fail("goes on")

    workplace.stage("draw", work)
    draw = workplace.folder("made/shapes")
    assert job(draw) == 128 + number
    assert capsys.readouterr().err == "dkd: stopped; nothing half-made is left\n"
    assert left_behind() == {".dkd/plan.json", str(log_of(workplace))}
    assert not Path(draw).exists()


def test_a_job_that_is_stopped_when_its_node_is_in_place_has_succeeded(workplace, job, monkeypatch):
    put = store.put

    def put_and_stop(*given):
        put(*given)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(store, "put", put_and_stop)
    draw = workplace.folder("made/shapes")
    assert job(draw) == 0
    assert provenance.damage(Path(draw), draw[-12:], verify=True) is None


def test_a_job_that_is_stopped_leaves_a_node_that_is_to_be_made_anew(workplace, job):
    draw = workplace.folder("made/shapes")
    workplace.make(draw)
    workplace.stage("draw", lambda *given: os.kill(os.getpid(), signal.SIGTERM))
    assert job(draw, redo=[draw]) == 128 + signal.SIGTERM
    assert provenance.damage(Path(draw), draw[-12:], verify=False) is None


def test_what_a_library_makes_of_an_interrupt_is_one(workplace, job):
    def work(*given):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError("a worker ended") from None

    workplace.stage("draw", work)
    assert job(workplace.folder("made/shapes")) == 128 + signal.SIGTERM
    assert not store.FAILED.exists()


def test_a_job_without_a_run_is_refused(workplace, start):
    workplace.plan.save()
    draw = workplace.folder("made/shapes")
    job = start("import sys; from pipeline import job; sys.exit(job.main())", ".", f"{draw}/{STAMP}")
    assert job.wait(timeout=60) == 1
    assert job.stderr.read() == "dkd: the run that this job belongs to has ended; jobs are started by snakemake\n"
    assert not Path(draw).exists()
