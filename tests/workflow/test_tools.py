"""What both tools must do after each kind of change, told by the work that was done."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from .conftest import DATA, EVERYTHING, PARAMS, SUMMARY, bases, results, steps

NOTHING = "Nothing to be done"


def test_dvc_makes_everything_once_and_then_both_do_nothing(finished):
    assert finished.worked == sorted(EVERYTHING)
    assert "Data and pipelines are up to date" in finished.dvc("repro")
    assert NOTHING in finished.snakemake()
    assert "Data and pipelines are up to date" in finished.dvc("status")
    assert finished.ran() == []
    assert finished.git("status", "--porcelain") == ""


def test_snakemake_makes_everything_once_and_then_does_nothing(begun):
    output = begun.snakemake()
    assert begun.ran() == sorted(EVERYTHING)
    assert "dkd-s0 4+1+1: epoch 1 of 1" in output
    assert (begun.path / "metrics" / "table.txt").read_text() in output
    assert NOTHING in begun.snakemake()
    assert begun.ran() == []


CHANGES = {
    "report": ({"report": {"decimals": 2}}, SUMMARY),
    "evaluate": ({"evaluate": {"crop": 66}}, results(0) + SUMMARY),
    "increment": ({"increment": {"lr": 0.002}}, steps(0) + steps(0, under="results") + SUMMARY),
    "base": ({"base": {"lr": 0.02}}, bases(0) + steps(0) + results(0) + SUMMARY),
    "seed": ({"runs": [{**PARAMS["runs"][0], "seed": [0, 1]}]}, bases(1) + steps(1) + results(1) + SUMMARY),
    "runtime": ({"runtime": {"threads": 1}}, []),
}


@pytest.mark.parametrize(
    "change", ["report", "evaluate", *(pytest.param(name, marks=pytest.mark.slow) for name in list(CHANGES)[2:])]
)
def test_a_change_of_params_redoes_what_sees_it(finished, change):
    params, expected = CHANGES[change]
    finished.params(**params)
    finished.snakemake()
    assert finished.ran() == sorted(expected)
    assert NOTHING in finished.snakemake()
    assert finished.ran() == []


@pytest.mark.slow
def test_another_scenario_shares_the_base_and_leaves_nothing_over(finished):
    finished.params(runs=[{**PARAMS["runs"][0], "scenario": [4, 2]}])
    finished.snakemake()
    whole = [f"{top}/shapes/overlap/4+2/dkd-s0" for top in ("checkpoints/increment", "results")]
    assert finished.ran() == sorted(["data/tasks/shapes/overlap/4+2", *whole, *SUMMARY])
    assert not list(finished.path.glob("[cdr]*/**/4+1+1*"))
    # DVC records what Snakemake made, and makes nothing itself.
    finished.dvc("repro")
    assert "up to date" in finished.dvc("status")
    assert NOTHING in finished.snakemake()
    assert finished.ran() == []


@pytest.mark.slow
def test_code_that_means_something_else_redoes_what_runs_it(finished):
    losses = finished.path / "src" / "dkd" / "losses.py"
    losses.write_text('"""Losses of networks."""\n\nSCALE = 1  # of every loss, whatever it is\n')
    assert NOTHING in finished.snakemake()
    losses.write_text("SCALE = 2\n")
    finished.snakemake()
    assert finished.ran() == sorted(bases(0) + steps(0) + results(0) + SUMMARY)


@pytest.mark.slow
def test_going_back_retrains_nothing(finished):
    finished.params(increment={"lr": 0.002})
    finished.snakemake()
    assert finished.ran()
    finished.params()
    finished.snakemake()
    assert finished.ran() == []
    assert "up to date" in finished.dvc("status")
    assert finished.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_dvc_tells_commits_apart_and_goes_from_one_to_the_other(finished):
    params, expected = CHANGES["increment"]
    finished.params(**params, report={"decimals": 2})
    finished.dvc("repro")
    assert finished.ran() == sorted(expected)
    changed = json.loads(finished.dvc("params", "diff", "--json"))["params.yaml"]
    assert changed["increment.lr"] == {"old": 0.001, "new": 0.002, "diff": 0.001}
    metrics = json.loads(finished.dvc("metrics", "diff", "--json"))
    assert {"metrics/summary.json", "metrics/groups.json"} == metrics.keys()
    assert "shapes_4-1_overlap_dkd_s0.all" in metrics["metrics/summary.json"]
    assert "shapes_4-1_overlap_dkd_s0.all" in finished.dvc("metrics", "show")
    assert "index.html" in finished.dvc("plots", "diff", "HEAD")
    page = (finished.path / "dvc_plots" / "index.html").read_text()
    assert "metrics/steps.csv" in page and "metrics/classes.csv" in page
    finished.commit("other rate")
    for commit in ("HEAD~1", "-"):
        finished.git("checkout", "-q", commit)
        finished.dvc("checkout")
        assert "up to date" in finished.dvc("status")
        assert NOTHING in finished.snakemake()
        assert finished.ran() == []
        assert finished.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_clone_that_pulled_has_nothing_to_do(finished, tmp_path):
    finished.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    finished.dvc("push")
    finished.commit("remote")
    clone = type(finished)(tmp_path / "clone")
    finished.git("clone", "-q", str(finished.path), str(clone.path))
    (clone.path / ".venv").symlink_to((finished.path / ".venv").readlink())
    clone.dvc("pull")
    for number, path in enumerate(sorted(clone.path.glob("[cdmrs]*/**/*"))):
        # Files come with times in any order.
        os.utime(path, (10**9 - number * 1000,) * 2)
    assert NOTHING in clone.snakemake()
    assert "up to date" in clone.dvc("repro")
    assert clone.ran() == []
    clone.params(evaluate={"crop": 66})
    clone.snakemake()
    assert clone.ran() == sorted(results(0) + SUMMARY)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_damaged_checkpoint_and_what_was_made_from_it_is_redone_at_once(finished, damage):
    [base] = finished.path.glob("checkpoints/base/shapes/overlap/4/s0-*")
    if damage == "cut":
        (base / "model.safetensors").write_bytes(b"x")
    else:
        shutil.rmtree(base)
    assert "set aside" in finished.snakemake()
    assert finished.ran() == sorted(bases(0) + steps(0) + results(0) + SUMMARY)
    assert NOTHING in finished.snakemake()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number"),
    [
        (["snakemake", "--cores", "1"], signal.SIGINT),
        (["snakemake", "--cores", "1"], signal.SIGTERM),
        (["snakemake", "--cores", "1"], signal.SIGKILL),
        (["dvc", "repro", "increment"], signal.SIGINT),
        (["dvc", "repro", "increment"], signal.SIGKILL),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value.name,
)
def test_a_stopped_run_goes_on_where_it_was(finished, command, number):
    finished.params(increment={"lr": 0.002})
    command = [f".venv/bin/{command[0]}", *command[1:]]
    node = "checkpoints/increment/shapes/overlap/4+1+1/dkd-s0"
    recorded = set(finished.path.glob(f"{node}-*"))
    output = finished.stop(command, node, number)
    if number != signal.SIGKILL:
        assert "KeyboardInterrupt" not in output
        assert not list(finished.path.glob(".dkd/scratch/*"))
    assert not [path for path in set(finished.path.glob(f"{node}-*")) - recorded if list(path.iterdir())]
    before = set(finished.ran())
    assert node in before
    finished.call(*command)
    after = finished.ran()
    assert before & set(after) == {node}
    assert before | set(after) >= set(steps(0))
    assert not list(finished.path.glob("[cdr]*/**/half"))


@pytest.mark.slow
def test_two_runs_at_once_share_the_work(begun):
    command = [".venv/bin/snakemake", "--cores", "2"]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    runs = [subprocess.Popen(command, cwd=begun.path, env=begun.env, **quiet) for _ in range(2)]
    for run in runs:
        output = run.communicate()[0]
        assert run.returncode == 0, output
    assert begun.ran() == sorted(EVERYTHING)
    assert NOTHING in begun.snakemake()


@pytest.mark.slow
def test_edits_during_a_run_do_not_enter_it(begun):
    """New params wait for the next run; new code is refused."""
    slow = begun.trace.with_name(f"{begun.trace.name}.slow")
    with subprocess.Popen(
        [".venv/bin/snakemake", "--cores", "1"],
        cwd=begun.path,
        env={**begun.env, "DKD_SLOW": bases(0)[0], "DKD_SLEEP": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        while not slow.exists():
            time.sleep(0.05)
        begun.params(increment={"lr": 0.5})
        (begun.path / "src" / "dkd" / "evaluate.py").open("a").write("\nEDITED = True\n")
        output = run.communicate()[0]
        assert run.returncode != 0
    assert re.search("dkd: evaluate .*: code changed since the run started; start again", output)
    done = set(begun.ran())
    assert not done & set(results(0))
    begun.snakemake()
    assert not set(begun.ran()) & (done - set(steps(0)))


def test_what_the_user_can_mend_is_one_line(begun):
    (begun.path / "params.yaml").write_text("runs: [{dataset: none-such, scenario: 4-1, method: dkd}]\n")
    for output in (
        begun.snakemake(expect=1),
        begun.call(".venv/bin/python", "-m", "pipeline", "status", expect=1),
    ):
        assert "Traceback" not in output
        [line] = [line for line in output.splitlines() if line.startswith("dkd: ")]
        assert "none-such" in line


@pytest.mark.parametrize(("module", "function"), [("config", "load"), ("train", "fit")])
def test_all_code_is_that_of_the_checkout_whatever_is_installed(begun, module, function):
    (begun.path / "src" / "dkd" / f"{module}.py").write_text(
        "from dkd.errors import InputError\n\n\n"
        f"def {function}(*given):\n    raise InputError(f'{module} in {{__file__}}')\n"
    )
    line = f"dkd: {module} in {begun.path}/src/dkd/{module}.py\n"
    assert line in begun.snakemake("base_all", expect=1)
    if module == "config":
        assert line in begun.call(".venv/bin/python", "-m", "pipeline", "status", expect=1)


def test_status_lists_every_node(finished):
    finished.params(runs=[{**PARAMS["runs"][0], "seed": [0, 1]}])
    lines = finished.call(".venv/bin/python", "-m", "pipeline", "status").splitlines()
    assert lines[-1] == "10 of 17 nodes present"
    assert sum(line.startswith("missing") for line in lines) == 7
    assert lines[0].startswith("present  data/made/shapes-")


@pytest.mark.slow
def test_dvc_runs_where_a_stage_has_nothing_to_do(begun):
    begun.params(runs=[{**PARAMS["runs"][0], "method": "joint", "seed": 0}])
    begun.dvc("repro", "increment")
    assert "up to date" in begun.dvc("status", "increment")
    assert begun.ran() == sorted([*DATA[:2], "data/tasks/shapes/overlap/6", "checkpoints/base/shapes/overlap/6/s0"])


@pytest.mark.slow
def test_temporary_experiments_find_their_environment(finished):
    output = finished.dvc("exp", "run", "--temp", "-S", "report.decimals=3", PATH="/usr/local/bin:/usr/bin:/bin")
    assert "Ran experiment" in output
    assert finished.ran() == SUMMARY


def test_snakemake_finds_nothing_to_lint(begun):
    assert "good condition" in begun.snakemake("--lint")
