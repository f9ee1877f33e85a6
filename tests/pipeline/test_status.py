import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ROOT, provenance, store
from pipeline.plan import STAMP
from pipeline.rules import RULES
from pipeline.status import Cost, Status

SHAPES = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}
BASE = "base/shapes/overlap/4/s0"
STEP = "increment/shapes/overlap/4+1/dkd-s0"


@pytest.fixture
def made(workplace):
    workplace.make()
    return workplace


def stand(workplace, place, **options):
    """State of a node, and why."""
    status, folder = Status(workplace.asked(**options)), workplace.folder(place)
    return status.states[folder].name, status.reasons(folder)


def test_what_is_there_is_present(made):
    status = Status(made.plan)
    assert status.count("present") == len(status.states) == 15 and not any(map(status.reasons, status.states))
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


def test_changed_code_is_named_by_module(workplace):
    workplace.edit("src/dkd/losses.py", "def ", "def ")
    workplace.make()
    workplace.edit("src/dkd/evaluate.py", "def evaluate(", "FEW = 3\n\n\ndef evaluate(")
    assert stand(workplace, "results/shapes/overlap/4/s0") == ("missing", ["code changed: dkd.evaluate"])
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
    status = Status(made.plan)
    assert [node.folder for node in status.to_make] == [made.folder(STEP)]
    lines = list(status.lines())
    assert f"damaged  {made.folder(STEP)}" in lines and f"open     {made.folder(result)}" in lines
    assert "the next run makes 1 node: 1 increment, and looks at 7 that depend on them" in lines
    assert path.read_text() == right[:-1], "status changes nothing"
    content = status.content()
    [found] = [node for node in content["nodes"] if node["folder"] == made.folder(result)]
    assert found["state"] == "open" and found["reasons"] == [line]
    assert content["present"] == 7 and content["to_make"] == 1


def test_what_was_made_from_other_content_is_stale(made):
    Path(made.folder(BASE)).rename("elsewhere")
    made.write("base", "trained again")
    made.make(made.folder(BASE))
    reason = f"stale: its input {made.folder(BASE)} is not the one that it was made from"
    assert stand(made, STEP) == ("stale", [reason])
    assert len(Status(made.plan).to_make) == 5


def test_what_lies_in_the_archive_is_restored_and_costs_nothing(made):
    old = made.plan
    made.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(made.plan)
    status = Status(old)
    assert status.count("present") == 4 and status.count("archived") == 11
    lines = list(status.lines())
    assert lines[-2:] == ["4 of 15 nodes present, 11 more in the archive", "the next run makes nothing"]
    assert f"archived {old.of('base')[0].folder}" in lines
    assert status.cost() == Cost(0, 0, 0)
    content = status.content()
    assert (content["present"], content["archived"], content["to_make"]) == (4, 11, 0)
    assert not Path(old.of("base")[0].folder).exists(), "status changes nothing"
    # What was damaged there is no help.
    [kept] = store.ARCHIVE.glob(f"checkpoints/{BASE}-*")
    shutil.rmtree(kept)
    kept.mkdir()
    status = Status(old)
    assert [node.rule for node in status.to_make] == ["base"] and status.count("open") == 10


def test_costs_are_those_of_like_nodes(made):
    for folder, node in made.plan.nodes.items():
        record = provenance.read(Path(folder))
        record["seconds"] = {"increment": 100, "base": 7}.get(node.rule, 1)
        Path(folder, STAMP).write_text(json.dumps(record))
    size = sum(file["size"] for file in provenance.read(Path(made.folder(BASE)))["files"].values())
    made.params(runs=[{**SHAPES, "seed": [0, 1]}])
    status = Status(made.plan)
    rules = [node.rule for node in status.to_make]
    assert sorted(rules) == ["base", *["evaluate"] * 3, *["increment"] * 2, "page", *["panels"] * 3, "summary"]
    assert status.cost().seconds == 7 + 2 * 100 + 3 + 3 + 1 + 1 and status.cost().unknown == 0
    assert status.cost().bytes > size
    made.params(runs=[{**SHAPES, "setting": "disjoint"}])
    assert "about 3 minutes and 37 seconds of work" in list(Status(made.plan).lines())[-1]


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
    assert status.cost().unknown == len(status.to_make) - 2
    assert list(status.lines())[-1].endswith(f"unknown for {status.cost().unknown} nodes")


def test_json_says_the_same(made):
    made.params(runs=[SHAPES], evaluate={"crop": 11})
    content = json.loads(json.dumps(Status(made.plan).content()))
    assert content["present"] == 10 and content["to_make"] == 5 == len(Status(made.plan).to_make)
    [node] = [node for node in content["nodes"] if node["folder"].startswith("results/shapes/overlap/4/s0")]
    assert node["rule"] == "evaluate" and node["state"] == "missing"
    assert "params changed: crop: 64 -> 11" in node["reasons"]
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
    assert status == 1 and "`snakemake --config verify=1` makes it again" in error
    states = [node["state"] for node in json.loads(text)["nodes"]]
    assert states.count("damaged") == 1 and states.count("open") == 10
