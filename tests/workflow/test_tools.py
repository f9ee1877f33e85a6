"""What both tools must do after each kind of change, told by the work that was done."""

import json
import os
import re

import pytest

from .conftest import DATA, EVERYTHING, FROM_BASE, LATER, NOTHING, PARAMS, SUMMARY, bases, panels, results, steps


def test_snakemake_makes_everything_once_and_then_both_do_nothing(finished):
    assert finished.worked == sorted(EVERYTHING)
    assert "dkd-s0 4+1+1: epoch 1 of 1" in finished.output
    assert (finished.path / "metrics" / "table.txt").read_text() in finished.output
    assert NOTHING in finished.snakemake()
    assert "Data and pipelines are up to date" in finished.dvc("repro")
    assert "Data and pipelines are up to date" in finished.dvc("status")
    assert finished.ran() == []
    assert finished.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_dvc_makes_everything_once_and_then_both_do_nothing(begun):
    """From a shell that knows of no environment."""
    begun.dvc("repro", PATH="/usr/local/bin:/usr/bin:/bin")
    assert begun.ran() == sorted(EVERYTHING)
    begun.agrees()


CHANGES = {
    "report": ({"report": {"decimals": 2}}, SUMMARY),
    "evaluate": ({"evaluate": {"crop": 66}}, results(0) + SUMMARY),
    "increment": ({"increment": {"lr": 0.002}}, LATER),
    "base": ({"base": {"lr": 0.02}}, FROM_BASE),
    "seed": ({"runs": [{**PARAMS["runs"][0], "seed": [0, 1]}]}, bases(1) + steps(1) + results(1) + panels(1) + SUMMARY),
    "runtime": ({"runtime": {"threads": 1}}, []),
}

OTHER = {**PARAMS["runs"][0], "scenario": [4, 2]}
OTHER_STEPS = [
    "data/tasks/shapes/overlap/4+2",
    *(f"{top}/shapes/overlap/4+2/dkd-s0" for top in ("checkpoints/increment", "results", "panels")),
]


@pytest.mark.parametrize(
    "change", [pytest.param(name, marks=[] if name == "report" else pytest.mark.slow) for name in CHANGES]
)
def test_a_change_of_params_redoes_what_sees_it(finished, change):
    params, expected = CHANGES[change]
    finished.params(**params)
    finished.snakemake()
    assert finished.ran() == sorted(expected)
    assert NOTHING in finished.snakemake()


@pytest.mark.slow
def test_dvc_redoes_what_a_change_asks_for_and_records_no_left_overs(finished):
    """Each stage asks Snakemake for its own nodes: one after the other they must come to the same."""
    finished.params(base={"lr": 0.02}, runs=[OTHER])
    finished.dvc("repro")
    assert finished.ran() == sorted([*bases(0), *results(0)[:1], *panels(0)[:1], *OTHER_STEPS, *SUMMARY])
    assert not list(finished.path.glob("[cdrp]*/**/4+1*"))
    finished.agrees()


@pytest.mark.slow
def test_dvc_records_what_snakemake_made_without_making_it_again(finished):
    finished.params(increment={"lr": 0.002})
    finished.snakemake()
    assert finished.ran() == sorted(LATER)
    finished.agrees()


@pytest.mark.slow
def test_another_scenario_shares_the_base_and_leaves_nothing_over(finished):
    finished.params(runs=[OTHER])
    finished.snakemake()
    assert finished.ran() == sorted([*OTHER_STEPS, *SUMMARY])
    assert not list(finished.path.glob("[cdrp]*/**/4+1*"))
    assert NOTHING in finished.snakemake()


@pytest.mark.slow
def test_code_that_means_something_else_redoes_what_runs_it(finished):
    losses = finished.path / "src" / "dkd" / "losses.py"
    losses.write_text('"""Losses of networks."""\n\nSCALE = 1  # of every loss, whatever it is\n')
    assert NOTHING in finished.snakemake()
    losses.write_text("SCALE = 2\n")
    finished.snakemake()
    assert finished.ran() == sorted(FROM_BASE)
    assert NOTHING in finished.snakemake()


@pytest.mark.slow
def test_going_back_retrains_nothing(finished):
    finished.params(increment={"lr": 0.002})
    finished.snakemake()
    assert finished.ran() == sorted(LATER)
    finished.params()
    finished.snakemake()
    assert finished.ran() == []
    assert "up to date" in finished.dvc("status")
    assert finished.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_dvc_tells_commits_apart_and_goes_from_one_to_the_other(finished):
    params, expected = CHANGES["increment"]
    finished.params(**params, report={"decimals": 2})
    finished.snakemake()
    assert finished.ran() == sorted(expected)
    changed = json.loads(finished.dvc("params", "diff", "--json"))["params.yaml"]
    assert changed["increment.lr"] == {"old": 0.001, "new": 0.002, "diff": 0.001}
    metrics = json.loads(finished.dvc("metrics", "diff", "--json"))
    assert metrics.keys() == {"metrics/headline.json"}
    assert metrics["metrics/headline.json"]["group.decimals"] == {"old": 1, "new": 2, "diff": 1}
    assert "group.harmonic" in finished.dvc("metrics", "show")
    assert "index.html" in finished.dvc("plots", "diff", "HEAD")
    page = (finished.path / "dvc_plots" / "index.html").read_text()
    for name in ("Mean IoU and forgetting by step", "Losses by epoch", "metrics/classes.png"):
        assert name in page
    finished.dvc("commit", "--force")
    finished.commit("other rate")
    for commit in ("HEAD~1", "-"):
        finished.git("checkout", "-q", commit)
        finished.dvc("checkout")
        assert "up to date" in finished.dvc("status")
        assert NOTHING in finished.snakemake()
        assert finished.ran() == []
        assert finished.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_status_and_a_run_say_what_dvc_checkout_would_bring(finished):
    """`git checkout` without it."""
    finished.params(increment={"lr": 0.002})
    finished.snakemake()
    finished.dvc("commit", "--force")
    finished.commit("other rate")
    finished.git("checkout", "-q", "HEAD~1")
    finished.dvc("checkout")
    finished.snakemake()
    finished.git("checkout", "-q", "-")
    finished.ran()
    words = "`dvc checkout` brings 8 of 8 missing nodes back"
    assert words in finished.pipeline("status").splitlines()
    with finished.start(".venv/bin/snakemake", "--cores", "1", held=steps(0)[0]) as run:
        run.says(f"dkd: {words}")
    finished.ran()
    finished.dvc("checkout")
    assert NOTHING in finished.snakemake()
    assert finished.ran() == []


@pytest.mark.slow
def test_a_clone_that_pulled_has_nothing_to_do(finished, tmp_path):
    finished.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    finished.dvc("push")
    finished.commit("remote")
    clone = finished.clone(tmp_path / "clone")
    clone.dvc("pull")
    for number, path in enumerate(sorted(clone.path.glob("[cdmprs]*/**/*"))):
        # Files come with times in any order.
        os.utime(path, (10**9 - number * 1000,) * 2)
    assert NOTHING in clone.snakemake()
    assert "up to date" in clone.dvc("repro")
    assert clone.ran() == []
    assert "15 of 15 nodes present" in clone.pipeline("status", "--verify")
    clone.params(evaluate={"crop": 66})
    clone.snakemake()
    assert clone.ran() == sorted(results(0) + SUMMARY)
    clone.params(increment={"lr": 0.002})
    clone.snakemake()
    assert clone.ran() == sorted(LATER)
    assert NOTHING in clone.snakemake()


@pytest.mark.slow
def test_dvc_runs_a_stage_that_has_nothing_to_do(begun):
    begun.params(runs=[{**PARAMS["runs"][0], "method": "joint", "seed": 0}])
    begun.snakemake("increment_all", "base_all")
    assert begun.ran() == sorted([*DATA[:2], "data/tasks/shapes/overlap/6", "checkpoints/base/shapes/overlap/6/s0"])
    begun.dvc("repro", "--single-item", "increment")
    assert "up to date" in begun.dvc("status", "increment")
    assert begun.ran() == []


@pytest.mark.parametrize(("module", "function"), [("config/read", "load"), ("training/loop", "train")])
def test_all_code_is_that_of_the_checkout_whatever_is_installed(begun, module, function):
    (begun.path / "src" / "dkd" / f"{module}.py").write_text(
        "from dkd.errors import InputError\n\n\n"
        f"def {function}(*given):\n    raise InputError(f'{module} in {{__file__}}')\n"
    )
    line = f"dkd: {module} in {begun.path}/src/dkd/{module}.py"
    assert line in begun.snakemake("base_all", expect=1)
    if function == "load":
        assert line in begun.pipeline("status", expect=1)


def test_status_says_why_and_what_comes_next(finished):
    finished.params(runs=[{**PARAMS["runs"][0], "seed": [0, 1]}], evaluate={"crop": 66})
    (finished.path / "src" / "dkd" / "evaluation.py").open("a").write("\nFEW = 3\n")
    lines = finished.pipeline("status").splitlines()
    assert lines[0].startswith("present  data/made/shapes-")
    reasons = {line[9:-13]: lines[k + 1 : k + 3] for k, line in enumerate(lines) if line.startswith("missing")}
    assert reasons[bases(1)[0]][0].strip() == "never made, or removed"
    assert [line.strip() for line in reasons[results(0)[0]]] == [
        "params changed: crop: 65 -> 66",
        "code changed: dkd.evaluation",
    ]
    assert "10 of 24 nodes present" in lines
    what = [line for line in lines if line.startswith("the next run")]
    assert what == ["the next run makes 14 nodes: 1 base, 2 increment, 6 evaluate, 3 panels, 1 summary, 1 page"]
    assert re.match("about [0-9]+ seconds? of work and ", lines[-1]) and "unknown" not in lines[-1]
    assert finished.ran() == []
