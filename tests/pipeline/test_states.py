from pathlib import Path

import pytest

from pipeline import status, store
from pipeline.rules import RULES
from tests.pipeline.conftest import SHAPES

DATA = {"draw", "index", "split"}
BASE = "base/shapes/overlap/4/s0"
STEP = "increment/shapes/overlap/4+1/dkd-s0"
LAST = "increment/shapes/overlap/4+1+1/dkd-s0"
MADE_FROM_STEP = {
    "results/shapes/overlap/4+1/dkd-s0",
    "panels/shapes/overlap/4+1/dkd-s0",
    "panels/shapes/overlap/4+1+1/dkd-s0",
    f"checkpoints/{LAST}",
    "results/shapes/overlap/4+1+1/dkd-s0",
    "summary/report",
    "report/page",
}


@pytest.fixture
def made(workplace):
    workplace.make()
    return workplace


def find(workplace, everything=True, **asked):
    return status.states(workplace.asked(**asked), everything)


def state(workplace, place, **options):
    return find(workplace, **options)[workplace.folder(place)]


def places(workplace, name, **options):
    found = find(workplace, **options)
    return {workplace.plan.node(folder).place for folder, each in found.items() if each.name == name}


def train_again(workplace, text="trained again, and a little different"):
    """Delete the base and train it again."""
    Path(workplace.folder(BASE)).rename("elsewhere")
    workplace.write("base", text)
    workplace.make(workplace.folder(BASE))


def test_before_the_first_run_everything_is_missing(workplace):
    assert set(status.states(workplace.plan, everything=True).values()) == {status.State("missing")}


@pytest.mark.parametrize("everything", [True, False])
def test_after_it_everything_is_present(made, everything):
    assert set(find(made, everything, verify=list(RULES)).values()) == {status.State("present")}


@pytest.mark.parametrize("archive", store.ARCHIVES, ids=str)
def test_what_lies_in_an_archive_is_archived(made, archive):
    first = made.plan
    made.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(made.plan)
    if archive != store.ARCHIVE:
        store.ARCHIVE.rename(archive)
    found = status.states(first, everything=True)
    assert {first.node(folder).rule for folder, each in found.items() if each.name == "present"} == DATA
    assert {each.name for each in found.values()} == {"present", "archived"}
    # What was damaged there is of no use.
    [base] = first.of("base")
    Path(archive, base.folder, "step.json").unlink()
    assert status.states(first, everything=True)[base.folder] == status.State("missing")


def test_damage_is_found_by_size_and_with_verify_by_content(made):
    path = Path(made.folder(STEP), "step.json")
    right = path.read_text()
    path.write_text(right.upper())
    assert places(made, "present") == {node.place for node in made.plan.of()}
    found = state(made, STEP, verify=["increment"])
    assert found == status.State("damaged", "step.json does not hold what was written")
    assert state(made, STEP, verify=["base", "evaluate"]).name == "present"
    path.write_text(right[:-1])
    assert state(made, STEP).name == "damaged"
    assert state(made, STEP).reason == f"step.json has {len(right) - 1} bytes instead of {len(right)}"
    path.unlink()
    assert state(made, STEP) == status.State("damaged", "step.json is missing")


def test_what_is_made_from_a_damaged_node_is_open(made):
    Path(made.folder(STEP), "step.json").unlink()
    assert places(made, "open") == MADE_FROM_STEP
    reason = state(made, "results/shapes/overlap/4+1/dkd-s0").reason
    assert reason == f"its input {made.folder(STEP)} is made again; it is kept if that comes out the same"
    # A run that asks for a node alone has no need of its inputs.
    assert places(made, "damaged", everything=False) == {f"checkpoints/{STEP}"}
    assert places(made, "open", everything=False) == set()


def test_a_missing_input_is_no_damage(made):
    Path(made.folder(BASE)).rename("elsewhere")
    assert places(made, "missing") == {f"checkpoints/{BASE}"}
    assert not places(made, "stale") and not places(made, "damaged")
    assert {node.rule for node in made.plan.of() if state(made, node.place).name == "present"} == DATA
    assert places(made, "missing", everything=False) == {f"checkpoints/{BASE}"}
    assert len(places(made, "present", everything=False)) == len(made.plan.nodes) - 1


def test_what_was_made_from_other_content_is_stale(made):
    train_again(made)
    stale = {f"checkpoints/{STEP}", "results/shapes/overlap/4/s0", "panels/shapes/overlap/4/s0"}
    # Both show something of the base itself, too.
    stale |= {"panels/shapes/overlap/4+1/dkd-s0", "report/page"}
    for everything in (True, False):
        assert places(made, "stale", everything=everything) == stale
        assert places(made, "open", everything=everything) == MADE_FROM_STEP - stale
    assert state(made, STEP).reason == f"its input {made.folder(BASE)} is not the one that it was made from"


def test_an_input_that_came_out_the_same_leaves_all_as_it_was(made):
    made.stage("base", made._write("base"))
    Path(made.folder(BASE)).rename("elsewhere")
    assert made.make(made.folder(BASE)) == [made.folder(BASE)]
    assert len(places(made, "present")) == len(made.plan.nodes)


def test_what_is_to_be_made_anew_is_stale(made):
    found = state(made, STEP, redo=[made.folder(STEP)])
    assert found == status.State("stale", "it is to be made again")
    assert places(made, "open", redo=[made.folder(STEP)]) == MADE_FROM_STEP
    assert places(made, "open", redo=[made.folder(STEP)], everything=False) == MADE_FROM_STEP


def test_inputs_are_compared_where_they_lie(made):
    """A node in its place, its input in the archive."""
    base = made.folder(BASE)
    (store.ARCHIVE / base).parent.mkdir(parents=True)
    Path(base).rename(store.ARCHIVE / base)
    assert places(made, "archived") == {f"checkpoints/{BASE}"}
    assert len(places(made, "present")) == len(made.plan.nodes) - 1
