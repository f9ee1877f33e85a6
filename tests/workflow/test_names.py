"""Names that tools stumble over: long scenarios, and the path of the checkout."""

import pytest

from .conftest import DATA, EVERYTHING, NOTHING, copy


@pytest.mark.slow
def test_scenarios_of_many_steps_can_be_planned_and_split(begun):
    """100-1 has 21 steps, 2-1 has 119: names that repeat a piece, or list all sizes, are refused or too long."""
    root = begun.path / "data" / "raw" / "own"
    for part in ("images", "masks", "splits"):
        (root / part).mkdir(parents=True)
        (root / part / "a").write_text("a")
    (root / "classes.txt").write_text("\n".join(["background", *(f"class {number}" for number in range(1, 121))]))
    scenarios = ["100-1", "20-5", "2-1"]
    runs = [{"dataset": "own", "scenario": scenario, "method": "dkd"} for scenario in scenarios]
    begun.params(runs=runs, data={"root": "data/raw/own"})
    assert "split " in begun.snakemake("-n", "split_all")
    begun.snakemake("split_all")
    made = begun.ran()
    assert [place for place in made if not place.startswith("data/tasks/own/overlap/")] == ["data/index/own"]
    assert {"100", "100+1x20", "20", "20+5x20", "2", "2+1x118"} == {
        place.rpartition("/")[2] for place in made if "tasks" in place
    }
    output = begun.snakemake("-n", "-F", "evaluate_all")
    assert "increment " in output
    folders = [line.split()[1] for line in begun.pipeline("status").splitlines() if line.startswith("missing ")]
    assert len(folders) > 450
    assert max(len(name.encode()) for folder in folders for name in folder.split("/")) < 100


@pytest.mark.slow
def test_a_checkout_can_lie_anywhere(_begun, tmp_path):
    place = copy(_begun, tmp_path / """with {braces}, a:colon, 'quo"tes' and {{more}}""")
    assert "good condition" in place.snakemake("--lint")
    place.snakemake()
    assert place.ran() == sorted(EVERYTHING)
    assert NOTHING in place.snakemake()
    assert "15 of 15 nodes present" in place.pipeline("status")


@pytest.mark.slow
def test_dvc_runs_in_a_checkout_whose_path_can_be_part_of_no_variable(_begun, tmp_path):
    """Braces are left out: DVC itself fails there."""
    place = copy(_begun, tmp_path / """a:colon, 'quo"tes'""")
    place.dvc("repro", "--single-item", "data")
    assert place.ran() == sorted(DATA[:2])
