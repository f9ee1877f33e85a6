from pathlib import Path

import pytest

from pipeline import plan as plans
from pipeline import store
from pipeline.rules import FOLDERS
from tests.pipeline.conftest import SHAPES


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def present(plan):
    return {folder for folder in plan.nodes if Path(folder, plans.STAMP).exists()}


def test_every_folder_that_dvc_follows_is_laid_out(here):
    store.prepare()
    Path("results", ".gitignore").write_text("mine")
    store.prepare()
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
    """The last one, where a node was archived, made again, and is not needed any more."""
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
    store.put(source, folder, store.QUARANTINE)
    assert not store.QUARANTINE.exists()
    (folder / "splits" / "a").write_text("old")
    source.mkdir()
    store.put(source, folder, store.QUARANTINE)
    assert [path.read_text() for path in store.QUARANTINE.rglob("a")] == ["old"]
    assert folder.is_dir() and not source.exists()


def test_before_a_run_go_scratch_and_states_of_what_is_finished(workplace):
    base, step = workplace.folder("base/shapes/overlap/4/s0"), workplace.folder("increment/shapes/overlap/4+1/dkd-s0")
    for node in workplace.plan.of("draw", "index", "split", "base"):
        workplace.make(node.folder)
    for path in (store.SCRATCH / "dead", store.WORK / base[-12:], store.WORK / step[-12:]):
        path.mkdir(parents=True)
    store.prepare()
    assert not store.SCRATCH.exists()
    assert [path.name for path in store.WORK.iterdir()] == [step[-12:]]


def test_long_names_are_one_file_name(here):
    with store.scratch("data/made/shapes-0123456789ab") as short, store.scratch(f"results/{'x' * 300}-01234") as long:
        assert short.name == "data__made__shapes-0123456789ab"
        assert long.name.endswith("x-01234") and len(long.name) == 200
