import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from dkd.errors import InputError
from pipeline import devices, fingerprint, keep, provenance
from pipeline import node as nodes
from pipeline import plan as plans


def left_behind():
    """All files but params.yaml and locks."""
    return (
        {str(path) for path in Path().rglob("*") if path.is_file()}
        - {"params.yaml"}
        - {str(path) for path in store.LOCK.glob("*")}
    )


def test_every_node_is_made_once(workplace):
    assert workplace.make() == list(workplace.plan.nodes)
    assert workplace.make() == []
    assert not list(store.SCRATCH.glob("*"))


def test_a_stage_sees_its_params_its_inputs_and_the_runtime(workplace):
    seen = []
    workplace.stage("index", lambda *given: seen.append(given))
    draw, index = workplace.folder("made/shapes"), workplace.folder("index/shapes")
    workplace.make(draw)
    nodes.make(workplace.plan, index, [])
    [(params, runtime, inputs, out)] = seen
    assert params == {"dataset": "shapes", "format": "folder"}
    places = {"work": f".dkd/work/{index[-12:]}", "board": f"logs/tensorboard/{index}"}
    assert runtime == {**workplace.plan.runtime, **places}
    assert inputs == {"data": Path(draw)}
    assert out.parent == store.SCRATCH


def test_which_gpus_a_rule_has_and_in_how_many_processes(workplace, monkeypatch):
    """Trainings and evaluations are shared; panels and the choice of exemplars are not, but keep evaluations off."""
    monkeypatch.setenv(devices.VISIBLE, "a,b")
    run = {"dataset": "shapes", "scenario": "5-1", "method": "dkd-m"}
    workplace.params(runs=[run], runtime={"processes": 2})
    seen, shared = {}, set()

    def look(rule, work):
        def run(*given):
            visible = os.environ[devices.VISIBLE]
            with ExitStack() as stack:
                free = [use for use in ("train", "evaluate") if devices._hold(stack, visible[0], use)]
            seen[rule] = visible, free
            return work(*given)

        return run

    def share(rule, label, params, runtime, inputs, out, place):
        shared.add(rule)
        return sys.modules[f"pipeline.stages.{rule}"].run(params, runtime, inputs, out)

    for rule in {node.rule for node in workplace.plan.nodes.values()}:
        workplace.stage(rule, look(rule, sys.modules[f"pipeline.stages.{rule}"].run))
    monkeypatch.setattr(nodes.processes, "run", share)
    workplace.make()
    assert shared == {"base", "increment", "evaluate"}
    assert seen["base"] == seen["increment"] == ("a,b", ["evaluate"])
    assert seen["evaluate"] == ("a,b", ["train"])
    assert seen["memory"] == seen["panels"] == ("a", ["train"])
    assert seen["index"] == ("a,b", ["train", "evaluate"])


def test_what_a_stage_does_to_its_params_is_not_recorded(workplace):
    def spoil(params, runtime, inputs, out):
        params.clear(), runtime.clear()

    draw = workplace.folder("made/shapes")
    before = dict(workplace.plan.node(draw).params)
    workplace.stage("draw", spoil)
    nodes.make(workplace.plan, draw, [])
    record = provenance.read(Path(draw))
    assert record["params"] == before == workplace.plan.node(draw).params
    assert record["runtime"] == workplace.plan.runtime != {}


def test_jobs_do_not_load_the_config():
    """So that a param that is not in a node's key is out of reach."""
    code = "import sys; from pipeline import node; print([m for m in sys.modules if m in ('dkd.config', 'pydantic')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_provenance_says_what_a_node_was_made_from_and_holds(workplace):
    workplace.stage("draw", lambda params, runtime, inputs, out: (out / "a").write_bytes(b"abc") and {"images": 7})
    draw, index = workplace.folder("made/shapes"), workplace.folder("index/shapes")
    nodes.make(workplace.plan, draw, ["a"])
    workplace.make(index)
    record = json.loads((Path(draw) / plans.STAMP).read_text())
    planned = workplace.plan.node(draw)
    assert record["schema"] == 1
    assert (record["rule"], record["key"], record["params"]) == ("draw", planned.key, planned.params)
    assert record["files"] == {"a": {"size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}}
    assert record["cost"] == {"images": 7}
    assert "pipeline.stages.draw" in record["code"] and "dkd.datasets.shapes" in record["code"]
    assert code_digest.digest(record["code"]) == planned.code
    assert record["versions"].keys() == {"python", *provenance.LIBRARIES}
    assert record["git"].keys() == {"commit", "dirty"}
    assert record["started"] <= record["finished"] and record["seconds"] >= 0
    used = json.loads((Path(index) / plans.STAMP).read_text())["inputs"]
    assert used == {"data": {"path": draw, "key": planned.key, "digest": record["digest"]}}


def test_the_digest_is_that_of_the_content_not_of_the_moment(workplace):
    draw = workplace.folder("made/shapes")
    digests = []
    for text in ("same", "same", "other"):
        workplace.stage("draw", lambda params, runtime, inputs, out, text=text: (out / "a").write_text(text) and None)
        nodes.make(workplace.plan, draw, ["a"])
        digests.append(provenance.read(Path(draw))["digest"])
        Path(draw, plans.STAMP).unlink()
    assert digests[0] == digests[1] != digests[2]


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
    old = store.SCRATCH / store.slug(draw) / "half"
    old.parent.mkdir(parents=True)
    old.write_text("half")
    workplace.make(draw)
    assert not Path(draw, "half").exists()


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from types import ModuleType
from pipeline import node, plan
moment, file, folder = sys.argv[1:]
def die(*given, **options):
    os.kill(os.getpid(), signal.SIGKILL)
def run(params, runtime, inputs, out):
    for place in (Path(runtime["work"]), out):
        place.mkdir(parents=True, exist_ok=True)
        (place / "a").write_text("a")
    if moment == "working":
        die()
    if moment == "renaming":
        Path.rename = die
    if moment == "renamed":
        shutil.rmtree = die
stage = sys.modules["pipeline.stages.draw"] = ModuleType("pipeline.stages.draw")
stage.run = run
node.make(plan.thaw(Path(file)), folder, ["a"])
"""


@pytest.mark.parametrize("moment", ["working", "renaming", "renamed"])
def test_killed_at_any_moment_a_node_is_there_or_is_not(workplace, moment):
    draw = workplace.folder("made/shapes")
    command = [sys.executable, "-c", KILLED, moment, str(plans.freeze(workplace.plan)), draw]
    path = f"{ROOT}:{ROOT / 'src'}"
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": path}).returncode == -signal.SIGKILL
    assert Path(draw, plans.STAMP).exists() == (moment == "renamed")
    assert [work.name for work in store.WORK.iterdir()] == [draw[-12:]]
    assert workplace.make(draw) == ([] if moment == "renamed" else [draw])
    assert Path(draw, "a" if moment == "renamed" else "classes.txt").exists()
    store.sweep()
    assert not list(store.WORK.iterdir()) and not list(store.SCRATCH.iterdir())


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


def test_a_finished_folder_is_left_alone(workplace):
    draw = workplace.folder("made/shapes")
    workplace.make(draw)
    before = Path(draw, plans.STAMP).read_bytes()
    assert workplace.make(draw) == []
    assert Path(draw, plans.STAMP).read_bytes() == before


def test_a_folder_that_nobody_planned_is_refused(workplace):
    with pytest.raises(InputError, match="data/made/shapes-000000000000 is not what the current params"):
        nodes.make(workplace.plan, "data/made/shapes-000000000000", [])


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
    """A node's job as Snakemake starts it, but in this process: returns its exit status."""
    monkeypatch.setattr(nodes, "_Stop", lambda: type("", (), {"signal": None}))
    top = logging.getLogger("dkd")
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(top, name, getattr(top, name))

    def job(folder, *files):
        plans.freeze(workplace.plan)
        outputs = [f"{folder}/{name}" for name in (*files, plans.STAMP)]
        monkeypatch.setattr(sys, "argv", ["node", "--log", "logs/x.log", *outputs])
        try:
            return nodes.main()
        finally:
            for handler in top.handlers:
                handler.close()

    return job


def test_a_job_tells_the_terminal_and_its_log(workplace, job, capsys):
    def speak(params, runtime, inputs, out):
        logging.getLogger("dkd").info("epoch 1 of 1")

    workplace.stage("draw", speak)
    assert job(workplace.folder("made/shapes")) == 0
    assert capsys.readouterr().err == "draw shapes: epoch 1 of 1\ndraw shapes: done in 0 s\n"
    assert Path("logs/x.log").read_text().count("INFO epoch 1 of 1\n") == 1


def test_the_plan_of_the_run_is_out_of_a_stages_reach(workplace, job):
    seen = []
    workplace.stage("draw", lambda *given: seen.append(os.environ.get(plans.ENV)))
    assert job(workplace.folder("made/shapes")) == 0
    assert seen == [None]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("too few pictures"), "dkd: too few pictures"),
        (OSError(28, "No space left on device", "model"), "dkd: model: No space left on device"),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), "dkd: a -> b: Invalid cross-device link"),
        (OSError(28, "No space left on device"), "dkd: No space left on device"),
    ],
)
def test_what_the_user_can_mend_is_one_line(workplace, job, capsys, error, line):
    def fail(*given):
        raise error

    workplace.stage("draw", fail)
    assert job(workplace.folder("made/shapes")) == 1
    assert capsys.readouterr().err == f"{line}\n"
    assert "Traceback" in Path("logs/x.log").read_text()


def test_a_defect_shows_its_traceback(workplace, job):
    workplace.stage("draw", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        job(workplace.folder("made/shapes"))
    assert "ZeroDivisionError" in Path("logs/x.log").read_text()
