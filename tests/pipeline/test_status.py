import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ROOT, provenance, status, store
from pipeline.plan import STAMP
from pipeline.rules import RULES
from tests.pipeline.conftest import SHAPES, lay_pictures

BASE = "base/shapes/overlap/4/s0"
STEP = "increment/shapes/overlap/4+1/dkd-s0"


@pytest.fixture
def made(workplace):
    workplace.make()
    return workplace


def stand(workplace, place, **options):
    """State of a node, and why."""
    [node] = [node for node in look(workplace.asked(**options))["nodes"] if node["folder"] == workplace.folder(place)]
    return node["state"], node["reasons"]


def look(plan):
    """How the plan stands, as programs see it."""
    return json.loads(json.dumps(status.look(plan)))


def lines(plan):
    return list(status.lines(plan, status.look(plan)))


def made_next(plan):
    """The rules of the nodes that the next run makes."""
    return sorted(node["rule"] for node in look(plan)["nodes"] if node["state"] in status.TO_MAKE)


def count(plan, state):
    return [node["state"] for node in look(plan)["nodes"]].count(state)


def test_what_is_there_is_present(made):
    assert [(node["state"], node["reasons"]) for node in look(made.plan)["nodes"]] == [("present", [])] * 15
    assert lines(made.plan)[-2:] == ["15 of 15 nodes present", "the next run makes nothing"]


def test_what_was_never_made_says_so(workplace):
    assert stand(workplace, BASE) == ("missing", ["never made, or removed"])
    assert lines(workplace.plan)[-1] == "what that costs is unknown: nothing like it was made here"


def test_a_changed_param_is_named_with_both_values(made):
    made.params(runs=[SHAPES], increment={"lr": 0.5})
    before = json.loads(
        json.dumps(provenance.read(next(Path().glob(f"checkpoints/{STEP}-*")))["params"]["recipe"]["lr"])
    )
    assert stand(made, STEP) == ("missing", [f"params changed: recipe.lr: {before} -> 0.5"])
    later = made.folder("increment/shapes/overlap/4+1/dkd-s0")
    assert f"input changed: previous is now {later}" in stand(made, "increment/shapes/overlap/4+1+1/dkd-s0")[1]
    assert stand(made, BASE) == ("present", [])


def test_the_version_that_differs_least_explains(made):
    made.params(runs=[SHAPES], increment={"lr": 0.5, "epochs": 3})
    made.make()
    made.params(runs=[SHAPES], increment={"lr": 0.5, "epochs": 4})
    assert stand(made, STEP) == ("missing", ["params changed: recipe.epochs: 3 -> 4"])
    store.prune(made.plan)
    assert stand(made, STEP) == ("missing", ["params changed: recipe.epochs: 3 -> 4"])


def test_changed_code_is_named_by_module(workplace):
    workplace.edit("src/dkd/losses.py", "def ", "def ")
    workplace.make()
    workplace.edit("src/dkd/evaluation.py", "def evaluate(", "FEW = 3\n\n\ndef evaluate(")
    assert stand(workplace, "results/shapes/overlap/4/s0") == ("missing", ["code changed: dkd.evaluation"])
    assert stand(workplace, BASE)[0] == "present"


def test_damage_and_what_may_follow_from_it_are_told(made):
    path = Path(made.folder(STEP), "step.json")
    right = path.read_text()
    path.write_text(right.upper())
    assert stand(made, STEP) == ("present", [])
    assert stand(made, STEP, verify=RULES) == ("damaged", ["damaged: step.json does not hold what was written"])
    result = "results/shapes/overlap/4+1/dkd-s0"
    line = f"open: its input {made.folder(STEP)} is made again; it is kept if that comes out the same"
    assert stand(made, result, verify=RULES) == ("open", [line])
    path.write_text(right[:-1])
    words = lines(made.plan)
    assert f"damaged  {made.folder(STEP)}" in words and f"open     {made.folder(result)}" in words
    assert "the next run makes 1 node: 1 increment, and looks at 7 that depend on them" in words
    assert path.read_text() == right[:-1], "status changes nothing"
    assert look(made.plan)["present"] == 7 and look(made.plan)["to_make"] == 1


def test_what_lies_in_the_archive_is_restored_and_costs_nothing(made):
    old = made.plan
    made.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(made.plan)
    words, content = lines(old), look(old)
    assert words[-2:] == ["4 of 15 nodes present, 11 more in the archive", "the next run makes nothing"]
    assert f"archived {old.of('base')[0].folder}" in words
    assert (content["present"], content["archived"], content["to_make"]) == (4, 11, 0)
    assert content["estimate"] == {"seconds": 0, "bytes": 0, "unknown": 0}
    assert not Path(old.of("base")[0].folder).exists(), "status changes nothing"
    # What was damaged there is no help.
    [kept] = store.ARCHIVE.glob(f"checkpoints/{BASE}-*")
    shutil.rmtree(kept)
    kept.mkdir()
    assert made_next(old) == ["base"] and count(old, "open") == 10


def test_costs_are_those_of_like_nodes(made):
    for folder, node in made.plan.nodes.items():
        record = provenance.read(Path(folder))
        record["seconds"] = {"increment": 100, "base": 7}.get(node.rule, 1)
        Path(folder, STAMP).write_text(json.dumps(record))
    size = sum(file["size"] for file in provenance.read(Path(made.folder(BASE)))["files"].values())
    made.params(runs=[{**SHAPES, "seed": [0, 1]}])
    rules = ["base", *["evaluate"] * 3, *["increment"] * 2, "page", *["panels"] * 3, "summary"]
    assert made_next(made.plan) == rules
    cost = look(made.plan)["estimate"]
    assert cost["seconds"] == 7 + 2 * 100 + 3 + 3 + 1 + 1 and cost["unknown"] == 0 and cost["bytes"] > size
    made.params(runs=[{**SHAPES, "setting": "disjoint"}])
    assert "about 3 minutes and 37 seconds of work" in lines(made.plan)[-1]


def test_nodes_without_like_ones_have_no_estimate(made, tmp_path):
    root = lay_pictures(tmp_path / "own", "a", "b", "c")
    made.params(
        runs=[SHAPES, {"dataset": "own", "scenario": "2-1", "method": "dkd", "set": {"data": {"root": str(root)}}}]
    )
    unknown = look(made.plan)["estimate"]["unknown"]
    assert unknown == len(made_next(made.plan)) - 2
    assert lines(made.plan)[-1].endswith(f"unknown for {unknown} nodes")


def test_the_command_says_by_its_exit_status_whether_there_is_damage(made):
    def ask(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "status", *arguments],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        )
        return done.returncode, done.stdout, done.stderr

    assert ask("--verify")[0] == 0
    Path(made.folder(BASE), "step.json").write_text("x" * Path(made.folder(BASE), "step.json").stat().st_size)
    assert ask()[0] == 0
    status, text, error = ask("--verify", "--json")
    assert status == 1 and "`snakemake --config verify=1` makes it again" in error
    content = json.loads(text)
    states = [node["state"] for node in content["nodes"]]
    assert states.count("damaged") == 1 == content["to_make"] and states.count("open") == 10
    assert content["nodes"][0] == {
        "folder": made.folder("made/shapes"),
        "rule": "draw",
        "state": "present",
        "reasons": [],
    }
    assert content["estimate"].keys() == {"seconds", "bytes", "unknown"}
