import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import ROOT, store
from pipeline.plan import STAMP
from tests.pipeline.conftest import SHAPES

WEEK = 7 * store.DAY


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
    assert store.collect(archive.plan, days=8, size=None) == {}
    freed = sum(path.stat().st_size for path in old.rglob("*.*"))
    assert store.collect(archive.plan, days=6, size=None) == {old: freed}
    assert stored() == young
    assert not old.parent.exists() or any(old.parent.iterdir())


def test_age_is_the_time_in_the_archive_not_that_of_the_work(workplace):
    workplace.make()
    for path in Path("results").rglob("*"):
        lie_since(path, WEEK)
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(workplace.plan)
    assert store.collect(workplace.plan, days=1, size=None) == {}


def test_the_oldest_go_beyond_a_size(archive):
    for age, path in enumerate(stored()):
        lie_since(path, age)
    sizes = {path: sum(file.stat().st_size for file in path.rglob("*.*")) for path in stored()}
    before = stored()
    gone = store.collect(archive.plan, days=None, size=sum(sizes.values()) - 1)
    assert list(gone) == before[-1:]
    store.collect(archive.plan, days=None, size=0)
    assert stored() == []


def test_what_the_plan_asks_for_stays(archive):
    archive.params(runs=[SHAPES])
    before = stored()
    assert store.collect(archive.plan, days=0, size=0) == {}
    assert stored() == before


@pytest.mark.parametrize("old", [".dkd/attic", ".dkd/damaged"])
def test_folders_of_earlier_versions_are_emptied_too(archive, old):
    base = next(path for path in stored() if "base" in path.parts)
    store.ARCHIVE.rename(old)
    if old == ".dkd/damaged":
        for path in list(store.nodes(Path(old))):
            path.rename(f"{path}-0a1b2c")
    gone = store.collect(archive.plan, days=None, size=0)
    assert len(gone) == 11 and str(base.relative_to(store.ARCHIVE)) in str(list(gone))
    assert not any(path.is_file() for path in Path(old).rglob("*"))


def test_what_was_made_anew_leaves_old_ones_that_go_though_the_plan_asks_for_the_node(workplace):
    base = workplace.folder("base/shapes/overlap/4/s0")
    workplace.make()
    workplace.write("base", "anew")
    workplace.make(base, redo=[base])
    [old] = (store.ARCHIVE / base).parent.iterdir()
    assert store.collect(workplace.plan, days=1, size=None) == {}
    lie_since(old, WEEK)
    [gone] = store.collect(workplace.plan, days=1, size=None)
    assert gone == old
    assert Path(base, STAMP).exists() and not store.ARCHIVE.exists()


def test_damaged_folders_go_too_and_nothing_else(archive):
    node = Path(archive.folder("made/shapes"))
    store.set_aside(node, store.QUARANTINE)
    [aside] = store.QUARANTINE.glob("data/made/shapes-*")
    notes = store.QUARANTINE / "notes.txt"
    notes.write_text("mine")
    assert store.collect(archive.plan, days=1, size=None) == {}
    lie_since(aside, WEEK)
    [gone] = store.collect(archive.plan, days=1, size=None)
    assert gone == aside and notes.exists()
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
    gone = store.collect(archive.plan, days=6, size=None)
    assert gone == {store.WORK / unwanted: 5}
    assert [path.name for path in store.WORK.iterdir()] == [wanted]


def test_files_that_lie_elsewhere_too_free_nothing(archive):
    [path, *_] = sorted(stored()[0].rglob("*.safetensors"))
    os.link(path, "elsewhere")
    folder = sum(file.stat().st_size for file in path.parent.iterdir())
    gone = store.collect(archive.plan, days=None, size=0)
    assert gone[path.parent] == folder - Path("elsewhere").stat().st_size


def gc(*arguments):
    command = [sys.executable, "-m", "pipeline", "gc", *arguments]
    path = f"{ROOT}:{ROOT / 'src'}"
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": path})
    return done.returncode, done.stdout, done.stderr


def test_sizes_are_written_as_people_do_and_others_are_one_line(archive):
    (store.SCRATCH / "dead").mkdir(parents=True)
    code, output, _ = gc("--max-size", "1kb")
    left = sum(path.stat().st_size for path in store.ARCHIVE.rglob("*") if path.is_file())
    assert code == 0 and "folders deleted" in output and left <= 1000 and not list(store.SCRATCH.iterdir())
    assert gc("--max-size", "1.5 GB")[:2] == (0, "0 folders deleted, 0 bytes freed\n")
    assert gc("--max-size", "much") == (1, "", "dkd: --max-size: 'much' is not a size; write 500MB or 20GB\n")
    assert gc()[2].startswith("dkd: gc: state what to keep: --keep-days N, --max-size S")
