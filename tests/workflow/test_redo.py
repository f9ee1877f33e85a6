"""Making nodes again that are there and good."""

import pytest

from .conftest import EVERYTHING, FROM_BASE, NOTHING, bases, results


@pytest.mark.slow
@pytest.mark.parametrize("salt", ["", "x"], ids=["equal", "different"])
@pytest.mark.parametrize("command", ["snakemake --forcerun base", "python -m pipeline redo"])
def test_a_base_made_anew_is_followed_by_the_rest_only_if_it_differs(finished, command, salt):
    """Named by its rule, and by its folder."""
    if "redo" in command:
        finished.pipeline("redo", str(finished.folder(bases(0)[0]).relative_to(finished.path)))
        finished.snakemake(DKD_SALT=salt)
    else:
        assert "archive" not in finished.snakemake("-n", "--forcerun", "base")
        finished.snakemake("--forcerun", "base", DKD_SALT=salt)
    assert finished.ran() == sorted(FROM_BASE if salt else bases(0))
    assert len(list(finished.path.glob(f".dkd/archive/{bases(0)[0]}-*"))) == 1
    assert NOTHING in finished.snakemake()
    assert finished.ran() == []


@pytest.mark.slow
def test_everything_can_be_made_anew(finished):
    finished.snakemake("-F")
    assert finished.ran() == sorted(EVERYTHING)
    assert NOTHING in finished.snakemake()


@pytest.mark.slow
def test_all_nodes_of_a_rule_can_be_made_anew(finished):
    finished.pipeline("redo", "evaluate")
    finished.snakemake("evaluate_all")
    assert finished.ran() == sorted(results(0))
    line = finished.pipeline("redo", "evaluation", expect=1)
    assert line.startswith("dkd: redo: evaluation is neither a folder of the plan nor one of its rules: draw, index, ")
