import os
import time
from pathlib import Path

import pytest

from pipeline import garbage, store
from pipeline.plan import STAMP

SHAPES = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}
WEEK = 7 * garbage.DAY


def lie_since(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def archive(workplace):
    """Eleven nodes of seed 0 in the archive; the plan is that of seed 1."""
    workplace.make()
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(workplace.plan)
    return workplace


def stored():
    return sorted(store.nodes(store.ARCHIVE))


def test_what_lies_there_longer_than_days_goes(archive):
    old, *young = stored()
    assert len(young) == 10
    lie_since(old, WEEK)
    assert garbage.collect(archive.plan, days=8, size=None) == []
    freed = sum(path.stat().st_size for path in old.rglob("*.*"))
    [gone] = garbage.collect(archive.plan, days=6, size=None)
    assert (gone.path, gone.size) == (old, freed)
    assert stored() == young
    assert not old.parent.exists() or any(old.parent.iterdir())


def test_age_is_the_time_in_the_archive_not_that_of_the_work(workplace):
    workplace.make()
    for path in Path("results").rglob("*"):
        lie_since(path, WEEK)
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(workplace.plan)
    assert garbage.collect(workplace.plan, days=1, size=None) == []


def test_the_oldest_go_beyond_a_size(archive):
    for age, path in enumerate(stored()):
        lie_since(path, age)
    sizes = {path: sum(file.stat().st_size for file in path.rglob("*.*")) for path in stored()}
    before = stored()
    gone = garbage.collect(archive.plan, days=None, size=sum(sizes.values()) - 1)
    assert [waste.path for waste in gone] == before[-1:]
    garbage.collect(archive.plan, days=None, size=0)
    assert stored() == [] and store.ARCHIVE.is_dir()


def test_what_the_plan_asks_for_stays(archive):
    archive.params(runs=[SHAPES])
    before = stored()
    assert garbage.collect(archive.plan, days=0, size=0) == []
    assert stored() == before


@pytest.mark.parametrize("old", [".dkd/attic", ".dkd/damaged"])
def test_folders_of_earlier_versions_are_emptied_too(archive, old):
    base = next(path for path in stored() if "base" in path.parts)
    store.ARCHIVE.rename(old)
    if old == ".dkd/damaged":
        for path in list(store.nodes(Path(old))):
            path.rename(f"{path}-0a1b2c")
    gone = garbage.collect(archive.plan, days=None, size=0)
    assert len(gone) == 11 and str(base.relative_to(store.ARCHIVE)) in {waste.folder for waste in gone}
    assert list(Path(old).iterdir()) == []


def test_what_was_made_anew_leaves_old_ones_that_go_though_the_plan_asks_for_the_node(workplace):
    base = workplace.folder("base/shapes/overlap/4/s0")
    workplace.make()
    workplace.write("base", "anew")
    workplace.make(base, redo=[base])
    [old] = (store.ARCHIVE / base).parent.iterdir()
    assert garbage.collect(workplace.plan, days=1, size=None) == []
    lie_since(old, WEEK)
    [gone] = garbage.collect(workplace.plan, days=1, size=None)
    assert (gone.folder, gone.path) == (base, old)
    assert Path(base, STAMP).exists() and not list(store.ARCHIVE.iterdir())


def test_damaged_folders_go_too_and_nothing_else(archive):
    node = Path(archive.folder("made/shapes"))
    store.set_aside(node)
    [aside] = store.QUARANTINE.glob("data/made/shapes-*")
    notes = store.QUARANTINE / "notes.txt"
    notes.write_text("mine")
    assert garbage.collect(archive.plan, days=1, size=None) == []
    lie_since(aside, WEEK)
    [gone] = garbage.collect(archive.plan, days=1, size=None)
    assert gone.path == aside and notes.exists()
    assert present(archive)


def present(workplace):
    return Path(workplace.folder("index/shapes"), STAMP).exists()


def test_states_of_trainings_that_nobody_asks_for_go(archive):
    wanted = archive.folder("base/shapes/overlap/4/s1")[-12:]
    [unwanted] = [path.name[-12:] for path in stored() if path.name.startswith("s0-") and "checkpoints" in str(path)]
    for key in (wanted, unwanted):
        (store.WORK / key).mkdir(parents=True)
        (store.WORK / key / "state.pt").write_bytes(b"x" * 5)
        lie_since(store.WORK / key, WEEK)
    gone = garbage.collect(archive.plan, days=6, size=None)
    assert [(waste.path, waste.size) for waste in gone] == [(store.WORK / unwanted, 5)]
    assert [path.name for path in store.WORK.iterdir()] == [wanted]


def test_files_that_lie_elsewhere_too_free_nothing(archive):
    [path, *_] = sorted(stored()[0].rglob("*.safetensors"))
    os.link(path, "elsewhere")
    folder = sum(file.stat().st_size for file in path.parent.iterdir())
    [gone] = [waste for waste in garbage.collect(archive.plan, days=None, size=0) if waste.path == path.parent]
    assert gone.size == folder - Path("elsewhere").stat().st_size


def test_scratch_of_killed_jobs_goes(archive):
    (store.SCRATCH / "dead").mkdir(parents=True)
    garbage.collect(archive.plan, days=100, size=None)
    assert not list(store.SCRATCH.iterdir())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("12", 12),
        ("12B", 12),
        ("12 b", 12),
        ("1KB", 1000),
        ("1kb", 1000),
        ("3kB", 3000),
        ("1.5 GB", 1_500_000_000),
        (" 500mb ", 500_000_000),
        ("2TB", 2 * 10**12),
    ],
)
def test_sizes_are_written_as_people_do(text, size):
    assert garbage.size_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 XB", "1e3", "1GiB", "1.", "1 2"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ValueError):
        garbage.size_of(text)
