import json
from pathlib import Path

import pytest

from pipeline import keep
from pipeline import plan as plans
from pipeline.publish import METRICS, REPORT, publish, published, renew
from tests.pipeline.conftest import WRITES

SHAPES = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}


def present(plan):
    return {folder for folder in plan.nodes if Path(folder, plans.STAMP).exists()}


def test_tidy_leaves_sound_nodes_alone(workplace, capsys):
    workplace.make()
    keep.tidy(workplace.plan)
    assert present(workplace.plan) == set(workplace.plan.nodes)
    assert not capsys.readouterr().err


def test_tidy_makes_every_folder_that_dvc_follows(workplace):
    keep.tidy(workplace.plan)
    assert all(Path(top, ".gitignore").is_file() for top in plans.FOLDERS)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def forget(path):
    path.with_name(plans.STAMP).write_text("{")


@pytest.mark.parametrize(
    ("damage", "words"),
    [(cut, "step.json has"), (Path.unlink, "step.json is missing"), (forget, "provenance.json is not readable")],
)
def test_a_damaged_node_and_all_made_from_it_is_set_aside(workplace, capsys, damage, words):
    workplace.make()
    damage(Path(workplace.folder("increment/shapes/overlap/4+1/dkd-s0"), "step.json"))
    keep.tidy(workplace.plan)
    gone = {workplace.plan.nodes[folder].place for folder in workplace.plan.nodes.keys() - present(workplace.plan)}
    assert gone == {
        "checkpoints/increment/shapes/overlap/4+1/dkd-s0",
        "checkpoints/increment/shapes/overlap/4+1+1/dkd-s0",
        "results/shapes/overlap/4+1/dkd-s0",
        "results/shapes/overlap/4+1+1/dkd-s0",
        "panels/shapes/overlap/4+1/dkd-s0",
        "panels/shapes/overlap/4+1+1/dkd-s0",
        "summary/report",
        "report/page",
    }
    assert words in capsys.readouterr().err
    assert len(list(keep.DAMAGED.rglob("*dkd-s0-*"))) == 6
    assert len(workplace.make()) == len(gone)


def test_what_was_made_from_a_deleted_node_is_set_aside(workplace):
    workplace.make()
    keep.clear(Path(workplace.folder("base/shapes/overlap/4/s0")))
    keep.tidy(workplace.plan)
    assert {node.rule for node in map(workplace.plan.node, present(workplace.plan))} == {"draw", "index", "split"}


def test_what_was_made_from_other_content_is_set_aside(workplace):
    workplace.make()
    base = Path(workplace.folder("base/shapes/overlap/4/s0"))
    base.rename("elsewhere")

    def write(params, runtime, inputs, out):
        for name in ("model.safetensors", "step.json", "train.csv"):
            (out / name).write_text("trained again, and a little different")

    workplace.stage("base", write)
    workplace.make(str(base))
    keep.tidy(workplace.plan)
    assert str(base) in present(workplace.plan)
    assert not present(workplace.plan) & {node.folder for node in workplace.plan.of("increment", "evaluate", "summary")}


def test_folders_that_a_live_job_is_about_to_fill_are_left_alone(workplace):
    draw = Path(workplace.folder("made/shapes"))
    draw.mkdir(parents=True)
    keep.tidy(workplace.plan)
    keep.prune(workplace.plan)
    assert draw.is_dir()


def test_there_and_back_again_makes_nothing_twice(workplace):
    workplace.make()
    first = workplace.plan
    workplace.params(runs=[SHAPES], increment={"lr": 0.5})
    keep.tidy(workplace.plan)
    assert len(workplace.make()) == 8
    keep.prune(workplace.plan)
    second = workplace.plan
    assert present(first) == first.nodes.keys() & second.nodes.keys()
    assert present(second) == set(second.nodes)
    workplace.params(runs=[SHAPES])
    keep.tidy(workplace.plan)
    assert workplace.make() == []
    keep.prune(workplace.plan)
    assert present(second) == first.nodes.keys() & second.nodes.keys()


def test_prune_leaves_no_empty_folders_and_other_peoples_files(workplace):
    workplace.make()
    notes = Path("results/notes.txt")
    notes.write_text("mine")
    workplace.params(runs=[{**SHAPES, "setting": "disjoint"}])
    keep.prune(workplace.plan)
    assert notes.read_text() == "mine"
    assert not Path("results/shapes").exists() and Path("results").is_dir()
    assert Path(workplace.folder("index/shapes")).is_dir()


def test_prune_spares_the_nodes_of_live_runs(workplace, monkeypatch):
    workplace.make()
    old = workplace.plan
    base = workplace.folder("base/shapes/overlap/4/s0")
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    monkeypatch.setattr(keep, "in_use", lambda: {base})
    keep.prune(workplace.plan)
    assert {folder for folder in present(old) if folder.startswith("checkpoints")} == {base}


def test_nodes_that_another_run_holds_are_left_to_it(workplace):
    workplace.make()
    base = Path(workplace.folder("base/shapes/overlap/4/s0"))
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    with keep.lock(str(base)):
        keep.prune(workplace.plan)
        assert base.exists()
    keep.prune(workplace.plan)
    workplace.params(runs=[SHAPES])
    with keep.lock(str(base)):
        keep.tidy(workplace.plan)
        assert not base.exists()
    keep.tidy(workplace.plan)
    assert base.exists()


def test_prune_drops_scratch_that_nobody_holds(workplace):
    for name in ("dead", "alive"):
        (keep.SCRATCH / name).mkdir(parents=True)
    with keep.lock("alive"):
        keep.prune(workplace.plan)
    assert [path.name for path in keep.SCRATCH.iterdir()] == ["alive"]


def test_tables_are_published_with_the_name_of_their_node(workplace):
    workplace.make()
    summary, page = Path(workplace.folder("summary/report")), Path(workplace.folder("report/page"))
    for place in (METRICS, REPORT):
        place.mkdir(exist_ok=True)
        (place / "provenance-000000000000.json").write_text("{}")
    publish([summary / plans.STAMP, page / plans.STAMP])
    figures = {path.name for path in page.iterdir()} - {plans.STAMP, "index.html"}
    names = {*WRITES["summary"], *figures, published(str(page)).name}
    assert {path.name for path in METRICS.iterdir()} == names
    at_report = {path.name for path in REPORT.iterdir() if path.is_file()}
    assert at_report == {"index.html", published(str(page), REPORT).name}
    assert json.loads(published(str(page)).read_text())["key"] == workplace.plan.node(str(page)).key
    assert (METRICS / "steps.csv").read_bytes() == (summary / "steps.csv").read_bytes()
    assert (REPORT / "index.html").read_bytes() == (page / "index.html").read_bytes()


def test_what_was_made_again_is_published_again(workplace):
    folders = [workplace.folder("summary/report"), workplace.folder("report/page")]
    renew(folders)
    assert not METRICS.exists()
    workplace.make()
    renew(folders)
    assert not METRICS.exists(), "publishing is a job of its own"
    publish([Path(folder, plans.STAMP) for folder in folders])
    for folder in folders:
        keep.set_aside(Path(folder))
    renew(folders)

    def write(rule):
        def write(params, runtime, inputs, out):
            for name in WRITES[rule]:
                (out / name).write_text("made again")

        return write

    for rule, folder in zip(("summary", "page"), folders, strict=True):
        workplace.stage(rule, write(rule))
        workplace.make(folder)
    renew(folders)
    assert (METRICS / "table.txt").read_text() == (REPORT / "index.html").read_text() == "made again"
