import os
import time
from pathlib import Path

import pytest

from pipeline import garbage, keep
from pipeline import plan as plans

SHAPES = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}
WEEK = 7 * garbage.DAY


def lie_since(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def attic(workplace):
    """Seven nodes of seed 0 in the attic; the plan is that of seed 1."""
    workplace.make()
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(workplace.plan)
    return workplace


def stored():
    return sorted(store.nodes(store.ARCHIVE))


def test_what_lies_there_longer_than_days_goes(attic):
    old, *young = stored()
    assert len(young) == 10
    lie_since(old, WEEK)
    assert garbage.collect(attic.plan, days=8, size=None) == []
    freed = sum(path.stat().st_size for path in old.rglob("*.*"))
    [gone] = garbage.collect(attic.plan, days=6, size=None)
    assert (gone.path, gone.size) == (old, freed)
    assert stored() == young
    assert not old.parent.exists() or any(old.parent.iterdir())


def test_age_is_the_time_in_the_attic_not_that_of_the_work(workplace):
    workplace.make()
    for path in Path("results").rglob("*"):
        lie_since(path, WEEK)
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(workplace.plan)
    assert garbage.collect(workplace.plan, days=1, size=None) == []


def test_the_oldest_go_beyond_a_size(attic):
    for age, path in enumerate(stored()):
        lie_since(path, age)
    sizes = {path: sum(file.stat().st_size for file in path.rglob("*.*")) for path in stored()}
    before = stored()
    gone = garbage.collect(attic.plan, days=None, size=sum(sizes.values()) - 1)
    assert [waste.path for waste in gone] == before[-1:]
    garbage.collect(attic.plan, days=None, size=0)
    assert stored() == [] and store.ARCHIVE.is_dir()


def test_what_the_plan_or_a_live_run_asks_for_stays(attic, monkeypatch):
    base = next(path for path in stored() if "base" in path.parts)
    monkeypatch.setattr(plans, "in_use", lambda: {str(base.relative_to(store.ARCHIVE))})
    garbage.collect(attic.plan, days=0, size=0)
    assert stored() == [base]
    monkeypatch.undo()
    os.chdir(attic.path)
    attic.params(runs=[SHAPES])
    assert garbage.collect(attic.plan, days=0, size=0) == []
    assert stored() == [base]


def test_what_a_job_holds_stays(attic):
    held = stored()[0]
    with store.lock(str(held.relative_to(store.ARCHIVE))):
        garbage.collect(attic.plan, days=None, size=0)
        assert stored() == [held]


def test_damaged_folders_go_too_and_nothing_else(attic):
    node = Path(attic.folder("made/shapes"))
    store.set_aside(node)
    [aside] = store.QUARANTINE.glob("data/made/shapes-*")
    notes = store.QUARANTINE / "notes.txt"
    notes.write_text("mine")
    assert garbage.collect(attic.plan, days=1, size=None) == []
    lie_since(aside, WEEK)
    [gone] = garbage.collect(attic.plan, days=1, size=None)
    assert gone.path == aside and notes.exists()
    assert present(attic)


def present(workplace):
    return Path(workplace.folder("index/shapes"), plans.STAMP).exists()


def test_states_of_trainings_that_nobody_asks_for_go(attic):
    wanted = attic.folder("base/shapes/overlap/4/s1")[-12:]
    [unwanted] = [path.name[-12:] for path in stored() if path.name.startswith("s0-") and "checkpoints" in str(path)]
    for key in (wanted, unwanted):
        (store.WORK / key).mkdir(parents=True)
        (store.WORK / key / "state.pt").write_bytes(b"x" * 5)
        lie_since(store.WORK / key, WEEK)
    gone = garbage.collect(attic.plan, days=6, size=None)
    assert [(waste.path, waste.size) for waste in gone] == [(store.WORK / unwanted, 5)]
    assert [path.name for path in store.WORK.iterdir()] == [wanted]


def test_files_that_lie_elsewhere_too_free_nothing(attic):
    [path, *_] = sorted(stored()[0].rglob("*.safetensors"))
    os.link(path, "elsewhere")
    folder = sum(file.stat().st_size for file in path.parent.iterdir())
    [gone] = [waste for waste in garbage.collect(attic.plan, days=None, size=0) if waste.path == path.parent]
    assert gone.size == folder - Path("elsewhere").stat().st_size


def test_old_plans_and_scratch_of_the_dead_go(attic):
    plans.PLANS.mkdir(parents=True, exist_ok=True)
    for name, age in (("old", WEEK), ("new", 0)):
        (plans.PLANS / f"{name}.json").write_text("{}")
        lie_since(plans.PLANS / f"{name}.json", age)
    (store.SCRATCH / "dead").mkdir(parents=True)
    garbage.collect(attic.plan, days=100, size=None)
    assert [path.stem for path in plans.PLANS.iterdir()] == ["new"]
    assert not list(store.SCRATCH.iterdir())


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("12", 12), ("12B", 12), ("1.5 GB", 1_500_000_000), ("3kB", 3000), ("2TB", 2 * 10**12)]
)
def test_sizes_are_written_as_people_do(text, size):
    assert garbage.size_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 XB", "1e3", "1GiB"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ValueError):
        garbage.size_of(text)
