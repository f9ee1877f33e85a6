"""What both tools must do after each kind of change, told by the work that was done."""

import json
import os
import re
import shutil
import signal

import pytest

from .conftest import DATA, EVERYTHING, PARAMS, SUMMARY, bases, panels, results, steps

NOTHING = "Nothing to be done"
TOOLS = ("snakemake", "dvc")
LATER = steps(0) + steps(0, under="results") + steps(0, under="panels")


def test_dvc_makes_everything_once_and_then_both_do_nothing(finished):
    assert finished.worked == sorted(EVERYTHING)
    assert "Data and pipelines are up to date" in finished.dvc("repro")
    assert NOTHING in finished.snakemake()
    assert "Data and pipelines are up to date" in finished.dvc("status")
    assert finished.ran() == []
    assert finished.git("status", "--porcelain") == ""


def test_snakemake_makes_everything_once_and_then_both_do_nothing(begun):
    output = begun.snakemake()
    assert begun.ran() == sorted(EVERYTHING)
    assert "dkd-s0 4+1+1: epoch 1 of 1" in output
    assert (begun.path / "metrics" / "table.txt").read_text() in output
    begun.agrees()


CHANGES = {
    "report": ({"report": {"decimals": 2}}, SUMMARY),
    "evaluate": ({"evaluate": {"crop": 66}}, results(0) + SUMMARY),
    "increment": ({"increment": {"lr": 0.002}}, LATER + SUMMARY),
    "base": ({"base": {"lr": 0.02}}, bases(0) + steps(0) + results(0) + panels(0) + SUMMARY),
    "seed": ({"runs": [{**PARAMS["runs"][0], "seed": [0, 1]}]}, bases(1) + steps(1) + results(1) + panels(1) + SUMMARY),
    "runtime": ({"runtime": {"threads": 1}}, []),
}
FAST = {("snakemake", "report"), ("snakemake", "evaluate"), ("dvc", "increment")}


@pytest.mark.parametrize(
    ("tool", "change"),
    [
        pytest.param(tool, change, marks=[] if (tool, change) in FAST else pytest.mark.slow)
        for change in CHANGES
        for tool in TOOLS
        if (tool, change) not in {("dvc", "report"), ("dvc", "runtime")}
    ],
)
def test_a_change_of_params_redoes_what_sees_it(finished, tool, change):
    params, expected = CHANGES[change]
    finished.params(**params)
    finished.tool(tool)
    assert finished.ran() == sorted(expected)
    finished.agrees()


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_another_scenario_shares_the_base_and_leaves_nothing_over(finished, tool):
    finished.params(runs=[{**PARAMS["runs"][0], "scenario": [4, 2]}])
    finished.tool(tool)
    whole = [f"{top}/shapes/overlap/4+2/dkd-s0" for top in ("checkpoints/increment", "results", "panels")]
    assert finished.ran() == sorted(["data/tasks/shapes/overlap/4+2", *whole, *SUMMARY])
    assert not list(finished.path.glob("[cdr]*/**/4+1+1*"))
    finished.agrees()


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_code_that_means_something_else_redoes_what_runs_it(finished, tool):
    losses = finished.path / "src" / "dkd" / "losses.py"
    losses.write_text('"""Losses of networks."""\n\nSCALE = 1  # of every loss, whatever it is\n')
    finished.tool(tool)
    assert finished.ran() == []
    losses.write_text("SCALE = 2\n")
    finished.tool(tool)
    assert finished.ran() == sorted(bases(0) + steps(0) + results(0) + panels(0) + SUMMARY)
    finished.agrees()


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_going_back_retrains_nothing(finished, tool):
    finished.params(increment={"lr": 0.002})
    finished.tool(tool)
    assert finished.ran()
    finished.params()
    finished.tool(tool)
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
    clone.dvc("repro")
    assert clone.ran() == sorted(LATER + SUMMARY)
    clone.agrees()


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("damage", ["cut", "removed", "spoilt"])
def test_a_damaged_checkpoint_and_what_was_made_from_it_is_redone_at_once(finished, damage, tool):
    [base] = finished.path.glob("checkpoints/base/shapes/overlap/4/s0-*")
    model = base / "model.safetensors"
    if damage == "removed":
        shutil.rmtree(base)
    else:
        content = b"x" if damage == "cut" else b"y" * model.stat().st_size
        model.unlink()
        model.write_bytes(content)
    if damage == "spoilt":
        # Its size is right: only reading all of it tells.
        output = finished.pipeline("status", "--verify", expect=1)
        assert "damaged: model.safetensors does not hold what was written" in output
        assert finished.ran() == [] and base.exists()
        finished.pipeline("tidy", "--verify")
    finished.tool(tool)
    assert finished.ran() == sorted(bases(0) + steps(0) + results(0) + panels(0) + SUMMARY)
    assert list(finished.path.glob(".dkd/damaged/summary/*"))
    [page], [tables] = finished.path.glob("report/page-*"), finished.path.glob("metrics/provenance-*.json")
    assert tables.read_text() == (page / "provenance.json").read_text()
    assert "15 of 15 nodes present" in finished.pipeline("status", "--verify")
    finished.agrees()


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
def test_edits_during_a_run_do_not_enter_it(begun):
    """New params wait for the next run; new code is refused."""
    with begun.start(".venv/bin/snakemake", "--cores", "1", slow=bases(0)[0], seconds=3) as run:
        begun.params(increment={"lr": 0.5})
        (begun.path / "src" / "dkd" / "evaluate.py").open("a").write("\nEDITED = True\n")
        output = run.communicate()[0]
        assert run.returncode != 0
    assert re.search("dkd: evaluate .*: code changed since the run started; start again", output)
    done = set(begun.ran())
    assert not done & set(results(0))
    begun.snakemake()
    assert not set(begun.ran()) & (done - set(steps(0) + steps(0, under="panels")))


def test_what_the_user_can_mend_is_one_line(begun):
    (begun.path / "params.yaml").write_text("runs: [{dataset: none-such, scenario: 4-1, method: dkd}]\n")
    for output in (begun.snakemake(expect=1), begun.pipeline("status", expect=1)):
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
        assert line in begun.pipeline("status", expect=1)


def test_status_says_why_and_what_comes_next(finished):
    finished.params(runs=[{**PARAMS["runs"][0], "seed": [0, 1]}], evaluate={"crop": 66})
    (finished.path / "src" / "dkd" / "evaluate.py").open("a").write("\nFEW = 3\n")
    lines = finished.pipeline("status").splitlines()
    assert lines[0].startswith("present  data/made/shapes-")
    reasons = {line[9:-13]: lines[k + 1 : k + 3] for k, line in enumerate(lines) if line.startswith("missing")}
    assert reasons[bases(1)[0]][0].strip() == "never made, or removed"
    assert [line.strip() for line in reasons[results(0)[0]]] == [
        "params changed: crop: 65 -> 66",
        "code changed: dkd.evaluate: FEW",
    ]
    assert "10 of 24 nodes present" in lines
    what = [line for line in lines if line.startswith("the next run")]
    assert what == ["the next run makes 14 nodes: 1 base, 6 evaluate, 3 panels, 2 increment, 1 summary, 1 page"]
    assert lines[-1].startswith("about 0 s of work and ") and "unknown" not in lines[-1]
    assert finished.ran() == []


@pytest.mark.slow
def test_snakemakes_own_report_is_one_file_that_needs_no_network(finished):
    finished.snakemake("--report", "report.html")
    text = (finished.path / "report.html").read_text()
    assert all(f'"{category}"' in text for category in ("Tables", "Figures", "Pictures"))
    assert "steps.csv" in text and "sheet.png" in text
    assert not re.search(r'(src|href)="https?:', text)


@pytest.mark.slow
def test_an_edit_that_changes_no_result_is_adopted_and_both_tools_agree(finished):
    (finished.path / "src" / "dkd" / "losses.py").write_text("SCALE = 2 - 1\n")
    output = finished.pipeline("adopt")
    assert output.splitlines()[-1] == "11 nodes adopted, 0 refused"
    assert "code changed: dkd.losses: SCALE" in output
    finished.snakemake()
    finished.agrees()
    finished.git("checkout", "-q", "src")
    finished.dvc("repro")
    assert finished.ran() == []
    assert "0 folders deleted" in finished.pipeline("gc", "--keep-days", "1")
    output = finished.pipeline("gc", "--max-size", "0").splitlines()
    assert output[-1].startswith("11 folders deleted, ")
    finished.agrees()


@pytest.mark.slow
def test_dvc_runs_where_a_stage_has_nothing_to_do(begun):
    begun.params(runs=[{**PARAMS["runs"][0], "method": "joint", "seed": 0}])
    begun.dvc("repro", "increment")
    assert "up to date" in begun.dvc("status", "increment")
    assert begun.ran() == sorted([*DATA[:2], "data/tasks/shapes/overlap/6", "checkpoints/base/shapes/overlap/6/s0"])


def test_snakemake_finds_nothing_to_lint(begun):
    assert "good condition" in begun.snakemake("--lint")
