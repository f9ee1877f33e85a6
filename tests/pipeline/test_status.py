import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ROOT, fingerprint, keep, provenance
from pipeline import plan as plans
from pipeline.status import Cost, Status, sentence, span, volume

SHAPES = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}
BASE = "base/shapes/overlap/4/s0"
STEP = "increment/shapes/overlap/4+1/dkd-s0"


@pytest.fixture
def made(workplace):
    workplace.make()
    return workplace


def stand(workplace, place, **options):
    """State of a node, and why."""
    [found] = [each for each in Status(workplace.plan, **options).standings if each.node.place.endswith(place)]
    return found.state, [sentence(reason) for reason in found.reasons]


def test_what_is_there_is_present(made):
    status = Status(made.plan)
    assert {(state, str(reasons)) for _, state, reasons in status.standings} == {("present", "[]")}
    assert list(status.lines())[-2:] == ["15 of 15 nodes present", "the next run makes nothing"]


def test_what_was_never_made_says_so(workplace):
    assert stand(workplace, BASE) == ("missing", ["never made, or removed"])
    assert list(Status(workplace.plan).lines())[-1] == "what that costs is unknown: nothing like it was made here"


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


def test_changed_code_is_named_by_module_and_definition(workplace):
    workplace.edit("src/dkd/losses.py", "def ", "def ")
    workplace.make()
    workplace.edit("src/dkd/evaluate.py", "def evaluate(", "FEW = 3\n\n\ndef evaluate(")
    assert stand(workplace, "results/shapes/overlap/4/s0") == ("missing", ["code changed: dkd.evaluate: FEW"])
    assert stand(workplace, BASE)[0] == "present"


def test_damage_is_found_by_size_and_by_content(made):
    path = Path(made.folder(STEP), "step.json")
    right = path.read_text()
    path.write_text(right.upper())
    assert stand(made, STEP) == ("present", [])
    assert stand(made, STEP, verify=True) == ("damaged", ["damaged: step.json does not hold what was written"])
    [line] = stand(made, "results/shapes/overlap/4+1/dkd-s0", verify=True)[1]
    assert line == f"damaged: its input {made.folder(STEP)} is missing"
    path.write_text(right[:-1])
    assert stand(made, STEP)[0] == "damaged"
    assert path.read_text() == right[:-1], "status changes nothing"
    assert len(Status(made.plan).to_make()) == 8


def test_tidy_that_verifies_sets_aside_what_a_run_makes_again(made, capsys):
    Path(made.folder(STEP), "step.json").write_text(Path(made.folder(STEP), "step.json").read_text().upper())
    store.tidy(made.plan)
    assert made.make() == []
    store.tidy(made.plan, verify=True)
    assert "step.json does not hold what was written" in capsys.readouterr().err
    assert len(made.make()) == 8
    assert not Status(made.plan, verify=True).to_make()


def test_what_lies_in_the_attic_is_kept_and_costs_nothing(made):
    old = made.plan
    made.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(made.plan)
    status = Status(old)
    assert status.count("present") == 4 and status.count("kept") == 11
    assert "4 of 15 nodes present, 11 more in the attic" in list(status.lines())
    assert status.cost() == Cost(0, 0, 0)
    assert not Path(next(iter(old.of("base"))).folder).exists(), "status changes nothing"
    # What was damaged there is no help.
    [kept] = store.ARCHIVE.glob(f"checkpoints/{BASE}-*")
    shutil.rmtree(kept)
    kept.mkdir()
    assert Status(old).count("kept") == 0 and len(Status(old).to_make()) == 11


def test_costs_are_those_of_like_nodes(made):
    for folder, node in made.plan.nodes.items():
        record = provenance.read(Path(folder))
        record["seconds"] = {"increment": 100, "base": 7}.get(node.rule, 1)
        Path(folder, plans.STAMP).write_text(json.dumps(record))
    size = sum(file["size"] for file in provenance.read(Path(made.folder(BASE)))["files"].values())
    made.params(runs=[{**SHAPES, "seed": [0, 1]}])
    status = Status(made.plan)
    rules = [node.rule for node in status.to_make()]
    assert sorted(rules) == ["base", *["evaluate"] * 3, *["increment"] * 2, "page", *["panels"] * 3, "summary"]
    assert status.cost().seconds == 7 + 2 * 100 + 3 + 3 + 1 + 1 and status.cost().unknown == 0
    assert status.cost().bytes > size
    made.params(runs=[{**SHAPES, "setting": "disjoint"}])
    assert "about 3.6 min of work" in list(Status(made.plan).lines())[-1]


def test_nodes_without_like_ones_have_no_estimate(made, tmp_path):
    root = tmp_path / "own"
    for part in ("images", "masks", "splits"):
        (root / part).mkdir(parents=True)
        (root / part / "a").write_text(part)
    (root / "classes.txt").write_text("background\na\nb\nc\n")
    made.params(
        runs=[SHAPES, {"dataset": "own", "scenario": "2-1", "method": "dkd", "set": {"data": {"root": str(root)}}}]
    )
    status = Status(made.plan)
    assert status.cost().unknown == len(status.to_make()) - 2
    assert list(status.lines())[-1].endswith(f"unknown for {status.cost().unknown} nodes")


def test_json_says_the_same(made):
    made.params(runs=[SHAPES], evaluate={"crop": 11})
    content = json.loads(json.dumps(Status(made.plan).content()))
    assert content["present"] == 10 and content["to_make"] == 5 == len(Status(made.plan).to_make())
    [node] = [node for node in content["nodes"] if node["folder"].startswith("results/shapes/overlap/4/s0")]
    assert node["rule"] == "evaluate" and node["state"] == "missing"
    assert {"why": "params changed", "key": "crop", "old": 64, "new": 11} in node["reasons"]
    assert content["estimate"].keys() == {"seconds", "bytes", "unknown"}


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
    assert status == 1 and "tidy --verify" in error
    assert sum(node["state"] == "damaged" for node in json.loads(text)["nodes"]) == 11


def test_definitions_are_what_people_call_them():
    tree = code_digest.ast.parse("import os\nX: int = 1\na, b = c.d = 1, 2\nclass K: pass\nif X:\n  Y = 1\n'says'\n")
    assert list(code_digest._definitions(tree)) == ["(imports)", "X", "(a, b), c.d", "K", "(statements)"]


def test_amounts_are_in_units_of_people():
    assert [span(seconds) for seconds in (0.4, 90, 150, 9000, 300000)] == ["0 s", "90 s", "2.5 min", "2.5 h", "3.5 d"]
    assert [volume(size) for size in (12, 1234, 5.5e6, 2e9, 3e12)] == ["12 B", "1.23 kB", "5.5 MB", "2 GB", "3 TB"]
