import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some
from snakemake.io import PeriodicityDetector

from dkd import scenario
from dkd.config import read
from dkd.errors import InputError
from pipeline import plan as plans
from pipeline.rules import RULES
from tests.pipeline.conftest import lay_pictures

FIRST = {"dataset": "shapes", "scenario": "4-1", "setting": "overlap", "seed": 0}


@pytest.fixture
def build(tmp_path, monkeypatch):
    """The plan of some runs and sections of params.yaml."""
    monkeypatch.chdir(tmp_path)

    def build(*runs, **sections):
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump({"runs": [{**FIRST, **run} for run in runs], **sections}))
        return plans.build(read.load(path), fresh=False)

    return build


def folders(plan, *rules):
    return {node.folder for node in plan.of(*rules)}


def places(plan, *rules):
    return {node.place for node in plan.of(*rules)}


def changed(before, after):
    """Rules of the nodes of `after` that are not in `before`."""
    return {after.nodes[folder].rule for folder in after.nodes.keys() - before.nodes.keys()}


def test_a_run_is_laid_out_in_order(build):
    plan = build({"method": "dkd"})
    assert [node.place for node in plan.nodes.values()] == [
        "data/made/shapes",
        "data/index/shapes",
        "data/tasks/shapes/overlap/4",
        "checkpoints/base/shapes/overlap/4/s0",
        "results/shapes/overlap/4/s0",
        "panels/shapes/overlap/4/s0",
        "data/tasks/shapes/overlap/4+1+1",
        "checkpoints/increment/shapes/overlap/4+1/dkd-s0",
        "results/shapes/overlap/4+1/dkd-s0",
        "panels/shapes/overlap/4+1/dkd-s0",
        "checkpoints/increment/shapes/overlap/4+1+1/dkd-s0",
        "results/shapes/overlap/4+1+1/dkd-s0",
        "panels/shapes/overlap/4+1+1/dkd-s0",
        "summary/report",
        "report/page",
    ]
    for position, node in enumerate(plan.nodes.values()):
        for source in node.inputs.values():
            assert source.path in list(plan.nodes)[:position]


def test_labels_are_for_people(build):
    labels = [node.label for node in build({"method": "dkd"}).nodes.values()]
    assert labels[0] == "draw shapes"
    assert labels[3:5] == ["base s0 4", "evaluate s0 4"]
    assert labels[5] == "panels s0 4"
    assert labels[7:9] == ["dkd-s0 4+1", "evaluate dkd-s0 4+1"]
    assert labels[-1] == "page page"


def test_methods_and_scenarios_share_what_they_can(build):
    plan = build({"method": ["finetune", "kd", "dkd"]}, {"scenario": "4-2", "method": "dkd"})
    assert len(plan.of("draw", "index", "base")) == 3
    assert places(plan, "split") == {f"data/tasks/shapes/overlap/{sizes}" for sizes in ("4", "4+1+1", "4+2")}
    assert len(plan.of("increment")) == 3 * 2 + 1
    assert len(plan.of("evaluate")) == 1 + 3 * 2 + 1


def test_methods_share_a_base_with_those_of_their_head(build):
    plan = build({"method": ["finetune", "lwf", "kd", "mib", "plop", "star", "dkd"]}, {"method": "joint-softmax"})
    sigmoid, soft, whole = plan.of("base")
    assert [node.place.rpartition("/")[2] for node in (sigmoid, soft)] == ["s0", "softmax-s0"]
    assert folders(build({"method": "kd"}), "base") == {sigmoid.folder} and "head" not in sigmoid.params
    assert folders(build({"method": "mib"}), "base") == {soft.folder} and soft.params["head"] == "softmax"
    assert whole.params["classes"] == [1, 2, 3, 4, 5, 6] and whole.params["head"] == "softmax"
    results = {node.place for node in plan.of("evaluate")}
    assert results > {f"results/shapes/overlap/4{end}" for end in ("/s0", "/softmax-s0", "+1+1/joint-softmax-s0")}
    first = {node.params["method"]: node.inputs["previous"].path for node in plan.of("increment")[::2]}
    assert first == {
        **dict.fromkeys(("finetune", "kd", "star", "dkd"), sigmoid.folder),
        **dict.fromkeys(("lwf", "mib", "plop"), soft.folder),
    }
    [unknown] = build({"method": "ssul"}).of("base")
    assert unknown.place.endswith("4/unknown-s0") and unknown.params["head"] == "unknown"
    modules = {node.folder: plan.code[node.code].keys() for node in (sigmoid, soft)}
    assert "dkd.methods.joint" in modules[sigmoid.folder] and "dkd.methods.joint" not in modules[soft.folder]
    assert "dkd.methods.joint_softmax" in modules[soft.folder] - modules[sigmoid.folder]


def test_runs_keep_their_nodes_whatever_runs_beside_them(build):
    alone = build({"method": "dkd"})
    beside = build({"method": "kd"}, {"method": "dkd", "seed": [0, 1]}, {"scenario": "4-2", "method": "dkd"})
    assert folders(alone) - folders(alone, "summary", "page") < folders(beside)


def test_seeds_share_data_alone(build):
    assert changed(build({"method": "dkd"}), build({"method": "dkd", "seed": 1})) == {
        "base",
        "increment",
        "evaluate",
        "panels",
        "summary",
        "page",
    }


def test_settings_share_no_tasks(build):
    before, after = build({"method": "dkd"}), build({"method": "dkd", "setting": "disjoint"})
    assert folders(before) & folders(after) == folders(before, "draw", "index")


def test_joint_is_one_base_with_all_classes(build):
    plan = build({"method": "joint"}, {"scenario": "4-2", "method": "joint"})
    assert places(plan, "split") == {"data/tasks/shapes/overlap/6"}
    assert places(plan, "base") == {"checkpoints/base/shapes/overlap/6/s0"}
    assert not plan.of("increment")
    assert places(plan, "evaluate") == {f"results/shapes/overlap/{sizes}/joint-s0" for sizes in ("4+1+1", "4+2")}
    assert {node.params["base"] for node in plan.of("evaluate")} == {4}


def test_the_order_of_later_classes_is_not_the_bases_affair(build):
    before = build({"method": "dkd"})
    late = build({"method": "dkd", "order": [1, 2, 3, 4, 6, 5]})
    assert folders(before, "base") == folders(late, "base")
    early = build({"method": "dkd", "order": [5, 2, 3, 4, 1, 6]})
    assert not folders(before, "base") & folders(early, "base")


ALL = {"draw", "index", "split", "base", "increment", "evaluate", "panels", "summary", "page"}


@pytest.mark.parametrize(
    ("sections", "rules"),
    [
        ({"data": {"shapes": {"train": 7}}}, ALL),
        ({"model": {"dropout": 0.5}}, ALL - {"draw", "index", "split"}),
        ({"train": {"momentum": 0.5}}, ALL - {"draw", "index", "split"}),
        ({"base": {"lr": 0.5}}, ALL - {"draw", "index", "split"}),
        ({"increment": {"lr": 0.5}}, {"increment", "evaluate", "panels", "summary", "page"}),
        ({"increment": {"batch": 2}}, {"increment", "evaluate", "panels", "summary", "page"}),
        ({"methods": {"dkd": {"ac": 0.5}}}, {"increment", "evaluate", "panels", "summary", "page"}),
        ({"evaluate": {"crop": 77}}, {"evaluate", "summary", "page"}),
        ({"report": {"decimals": 3}}, {"summary", "page"}),
        ({"runtime": {"threads": 3, "device": "cpu"}}, set()),
    ],
)
def test_a_param_changes_what_may_see_it(build, sections, rules):
    assert changed(build({"method": "dkd"}), build({"method": "dkd"}, **sections)) == rules


def test_the_page_sees_its_assets_and_no_training_sees_the_page(build, monkeypatch, tmp_path):
    before = build({"method": "dkd"})
    assets = shutil.copytree(plans.ASSETS, tmp_path / "assets")
    (assets / "page.css").write_text("body {}")
    monkeypatch.setattr(plans, "ASSETS", assets)
    assert changed(before, build({"method": "dkd"})) == {"page"}
    for node in before.of("base", "increment", "evaluate", "panels"):
        assert not [name for name in before.code[node.code] if name.startswith("dkd.report")]
    for node in before.of("base", "increment"):
        assert not {"dkd.use.samples", "dkd.use.explain", "dkd.use.figure"} & before.code[node.code].keys()


def test_an_increments_param_leaves_step_0_alone(build):
    before, after = build({"method": "dkd"}), build({"method": "dkd"}, increment={"lr": 0.5})
    assert "results/shapes/overlap/4/s0" in {before.nodes[folder].place for folder in folders(before) & folders(after)}


def test_a_param_of_a_step_changes_that_step_and_the_later_ones(build):
    before, after = build({"method": "dkd"}), build({"method": "dkd"}, increment={"steps": {2: {"epochs": 100}}})
    first, second = ([node.params["recipe"] for node in plan.of("increment")] for plan in (before, after))
    assert [recipe["epochs"] for recipe in second] == [first[0]["epochs"], 100]
    assert first[0] == second[0] and first[1] == {**second[1], "epochs": first[1]["epochs"]}
    new = {after.nodes[folder].place for folder in after.nodes.keys() - before.nodes.keys()}
    assert {place for place in new if place.startswith("checkpoints/")} == {
        "checkpoints/increment/shapes/overlap/4+1+1/dkd-s0"
    }
    same = build({"method": "dkd"}, increment={"steps": {2: {"epochs": first[0]["epochs"]}}})
    assert folders(same, "increment") == folders(before, "increment"), "what counts are the values"


def test_weights_of_a_method_change_that_method_alone(build):
    runs = {"method": ["kd", "dkd"]}
    before, after = build(runs), build(runs, methods={"kd": {"kd": 1.0}})
    new = {after.nodes[folder].place for folder in after.nodes.keys() - before.nodes.keys()}
    assert new and all(place.endswith("/kd-s0") for place in new - {"summary/report", "report/page"})


def test_every_node_has_its_own_folder_whatever_its_place(build):
    plan = build({"method": "dkd", "name": "one"}, {"method": "dkd", "name": "two", "set": {"increment": {"lr": 0.5}}})
    assert len(places(plan, "increment")) == 2
    assert len(plan.of("increment")) == 4


@pytest.fixture
def folder_data(tmp_path):
    return lay_pictures(tmp_path / "pictures", "cat", "dog")


def test_raw_data_enters_by_its_content(build, folder_data):
    run = {"dataset": "own", "scenario": "1-1", "method": "dkd"}
    plan = build(run, data={"root": str(folder_data)})
    assert not plan.of("draw")
    assert all(node.inputs["data"].path == str(folder_data) for node in plan.of("index", "base", "evaluate"))
    moved = folder_data.rename(folder_data.with_name("moved"))
    assert not changed(plan, build(run, data={"root": str(moved)}))
    (moved / "images" / "a").write_text("other")
    assert changed(plan, build(run, data={"root": str(moved)})) == ALL - {"draw"}


def test_a_folder_that_nobody_planned_is_refused(build):
    plan = build({"method": "dkd"})
    # Another seed or method is none of a job's business: the params of this plan are all it can ask for.
    with pytest.raises(InputError, match="s9-000000000000 is not part of the plan of the current params, data and cod"):
        plan.node("checkpoints/base/shapes/overlap/4/s9-000000000000")


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        ([4], "4"),
        ([4, 1, 1], "4+1+1"),
        ([100, 10, 10, 10, 10, 10], "100+10+10+10+10+10"),
        ([2, *[1] * 18], "2+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1"),
        ([100, *[1] * 20], "100+1x20"),
        ([5] * 30, "5x30"),
        ([10, *[1] * 10, 2, *[3] * 9], "10+1x10+2+3x9"),
    ],
)
def test_scenarios_have_short_names(sizes, name):
    assert scenario.folder_name(sizes) == scenario.folder_name(tuple(sizes)) == name


def test_scenarios_of_many_different_sizes_are_named_by_a_digest():
    sizes = [1, 2] * 20
    assert re.fullmatch(r"1\+2\+1\+\.\.\.40-[0-9a-f]{8}", scenario.folder_name(sizes))
    assert scenario.folder_name(sizes) != scenario.folder_name([*sizes[:-2], 2, 1])


def scenarios():
    """Step sizes of scenarios as they are used, and of some that nobody would think of, with all of their beginnings"""
    whole = [
        [2, *[1] * 18],
        [15, *[1] * 5],
        [5] * 30,
        [100, *[1] * 50],
        [100, *[1] * 20],
        [50, *[50] * 2],
        [1, *[1] * 252],
        [10, *[1] * 243],
        [1, 2] * 84,
        [2, 1] * 84,
        [1, 1, 2] * 63,
        [1, 11] * 21,
        [11, 1] * 21,
        [111] * 2,
        list(range(1, 22)),
        list(range(22, 0, -1)),
    ]
    return {tuple(sizes[:end]) for sizes in whole for end in range(1, len(sizes) + 1)}


def test_no_two_scenarios_share_a_name():
    assert len({scenario.folder_name(sizes) for sizes in scenarios()}) == len(scenarios()) > 1000


def unfit(place):
    """What keeps a node from lying at `place`, a name below the folder of its rule, for Snakemake or a file system."""
    return [part for part in f"{place}-0123456789ab".split("/") if len(part.encode()) >= 255] or (
        PeriodicityDetector().is_periodic(place)
    )


def test_names_of_scenarios_fit_file_systems_and_snakemake():
    for sizes in scenarios():
        for place in (
            f"own/overlap/{scenario.folder_name(sizes)}",
            f"own/overlap/{scenario.folder_name(sizes)}/dkd-s0",
        ):
            assert not unfit(place), place
    assert unfit(f"own/overlap/{'+1' * 20}") and unfit("1" * 255)


@settings(deadline=None, max_examples=300)
@given(some.data())
def test_any_scenario_has_a_name_that_fits_and_is_its_own(data):
    sizes = data.draw(some.lists(some.sampled_from([1, 2, 5, 11, 100, 120]), min_size=1, max_size=253))
    assert not unfit(f"own/overlap/{scenario.folder_name(sizes)}")
    other, place = list(sizes), data.draw(some.integers(0, len(sizes) - 1))
    match data.draw(some.sampled_from(["change", "add", "remove", "swap"])):
        case "change":
            other[place] += 1
        case "add":
            other.insert(place, sizes[place])
        case "remove":
            del other[place]
        case "swap":
            other[place], other[0] = other[0], other[place]
    assert other == sizes or scenario.folder_name(other) != scenario.folder_name(sizes)


@pytest.mark.parametrize(
    ("classes", "scenario", "steps"),
    [(20, "2-1", 19), (150, "5-5", 30), (120, "100-1", 21), (253, "1-1", 253), (253, [253], 1), (60, [1, 2] * 20, 40)],
)
def test_every_node_of_a_long_scenario_has_a_place_of_its_own_that_fits(build, folder_data, classes, scenario, steps):
    names = "".join(f"class{number}\n" for number in range(classes + 1))
    (folder_data / "classes.txt").write_text(names)
    run = {"dataset": "own", "scenario": scenario, "method": "dkd"}
    plan = build(run, data={"root": str(folder_data)})
    assert len(plan.of("increment")) == steps - 1 and len(plan.of("evaluate")) == steps
    assert len(places(plan)) == len(plan.nodes)
    for node in plan.of():
        top = RULES[node.rule].folder
        assert node.place.startswith(f"{top}/") and not unfit(node.place[len(top) + 1 :]), node.place


def test_stages_see_neither_plan_nor_config():
    for stage in (plans.ROOT / "pipeline" / "stages").glob("*.py"):
        method = {"method": "dkd"}
        modules = plans.code_digest.Code(plans.ROOT).closure(plans.entries(stage.stem, method))
        assert not {"dkd.config", "dkd.cli", "pipeline.plan", "pipeline.job"} & modules.keys(), stage


def test_a_method_is_not_in_the_code_of_another():
    closure = {
        name: set(plans.code_digest.Code(plans.ROOT).closure(plans.entries("increment", {"method": name})))
        for name in ("kd", "dkd")
    }
    assert "dkd.methods.dkd" not in closure["kd"] and "dkd.methods.kd" not in closure["dkd"]
    assert "dkd.training.loop" in closure["kd"] & closure["dkd"]


def test_the_shipped_params_make_a_plan(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    assert plans.build(read.load("params.yaml"), fresh=False).of("summary")


def test_replay_has_a_memory_for_each_step(build):
    plan = build({"method": "dkd-m"})
    memories = plan.of("memory")
    assert [node.place for node in memories] == [
        "checkpoints/memory/shapes/overlap/4+1/dkd-m-s0",
        "checkpoints/memory/shapes/overlap/4+1+1/dkd-m-s0",
    ]
    assert [node.params["step"] for node in memories] == [1, 2]
    assert memories[1].inputs["memory"] == plans.Source(memories[0].folder, memories[0].key, made=True)
    steps = plan.of("increment")
    found = [node.inputs["memory"] for node in steps]
    assert found == [plans.Source(node.folder, node.key, made=True) for node in memories]
    assert memories[1].inputs["checkpoint"] == plans.Source(steps[0].folder, steps[0].key, made=True)
    # What labels are used is a matter of training alone; how many are kept, of the choice.
    policy = build({"method": "dkd-m", "set": {"methods": {"dkd-m": {"replay": "pseudo"}}}})
    assert changed(plan, policy) == {"increment", "memory", "evaluate", "panels", "summary", "page"}
    assert policy.of("memory")[0] == memories[0] and policy.of("memory")[1] != memories[1]
    assert not build({"method": "dkd"}).of("memory")


def test_weights_from_a_file_count_by_content(build, tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"one")
    plan = build({"method": "dkd"}, model={"pretrained": "weights.safetensors"})
    [base] = plan.of("base")
    assert base.params["model"]["pretrained"] is True and base.inputs["weights"].path == str(file)
    file.rename(tmp_path / "moved.safetensors")
    moved = build({"method": "dkd"}, model={"pretrained": "moved.safetensors"})
    # Where it lies is no part of the key, what it is called within its folder neither.
    assert [node.key for node in moved.of("base")] == [base.key]
    (tmp_path / "moved.safetensors").write_bytes(b"two")
    other = build({"method": "dkd"}, model={"pretrained": "moved.safetensors"})
    assert changed(plan, other) == {"base", "increment", "evaluate", "panels", "summary", "page"}
    with pytest.raises(InputError, match=r"model.pretrained: no file of weights at .*nowhere.pth"):
        build({"method": "dkd"}, model={"pretrained": "nowhere.pth"})


def test_code_that_makes_results_opens_no_files_of_its_own():
    """Presets and other package data are no part of the digest: only the config reads them, into params."""
    code = plans.code_digest.Code(plans.ROOT)
    stages = [path.stem for path in (plans.ROOT / "pipeline" / "stages").glob("[a-z]*.py")]
    methods = [path.stem for path in (plans.ROOT / "src" / "dkd" / "methods").glob("[a-z]*.py")]
    modules = {
        name
        for stage in stages
        for method in methods
        for name in code.closure(plans.entries(stage, {"method": method}))
    }
    assert "dkd.training.loop" in modules
    # The page's own files are in its key by their digest.
    for path in (code._path(name) for name in modules - {"pipeline", "dkd.report.page"}):
        words = path.read_text() if path.is_file() else ""
        assert not any(word in words for word in ("__file__", "importlib.resources", "pkgutil")), path


@pytest.mark.slow
def test_the_scale_benchmark_prints_its_rows():
    script = Path(__file__).parents[2] / "benchmarks" / "plan_scale.py"
    done = subprocess.run(
        [sys.executable, script, "--runs", "3", "60", "--made"], capture_output=True, text=True, check=True
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    # One order and seed: the index, two tasks, a base and its evaluation; five steps of
    # three methods, one of which has a memory for each; panels of the same; the summary, the page.
    assert [row[0] for row in rows] == ["3", "60"] and rows[0][1] == str(1 + 2 + 2 + 3 * 5 * 2 + 5 + 1 + 3 * 5 + 2)
    assert int(rows[1][1]) > 60 * 10
    assert all(float(row[cell].removesuffix(" s")) < 60 for row in rows for cell in (3, 4, 5, 7))
    # The folders with most entries are those of a step, whose methods they hold.
    assert [row[2] for row in rows] == ["3", "60"] and all(row[6].endswith(" MB") for row in rows)


def test_the_plan_of_the_last_run_is_what_its_jobs_read(workplace):
    workplace.plan.save()
    workplace.params(runs=[{**FIRST, "method": "joint"}])
    run = workplace.asked(redo=[workplace.folder("made/shapes")], verify=["base"])
    run.save()
    for folder, node in run.nodes.items():
        # Of the others, a job reads nothing.
        assert plans.load(folder) == replace(run, nodes={folder: node})
    [index] = run.of("index")
    assert plans.load(index.folder).nodes[index.folder].inputs["data"].made
    assert plans.load("").nodes == plans.load(f"{index.place}-0123456789ab").nodes == {}
    assert [path.name for path in plans.FILE.parent.iterdir()] == [plans.FILE.name]


@pytest.mark.parametrize("content", [None, "", "{"])
def test_jobs_need_a_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        plans.FILE.parent.mkdir()
        plans.FILE.write_text(content)
    with pytest.raises(InputError, match=r"plan\.json is not readable: jobs are started by snakemake"):
        plans.load("")


def indexed(build, tmp_path, data=None, **run):
    """The index of a run on a folder data set of four classes, and all places of its plan."""
    root = tmp_path / "own"
    if not root.exists():
        lay_pictures(root, "cat", "dog", "bird", "fish")
    run = {"dataset": "own", "method": "kd", "scenario": "2-1", **run}
    plan = build(run, data={"root": str(root), **(data or {})})
    [index] = plan.of("index")
    return index


def test_what_masks_mean_is_a_param_of_the_index_only_where_it_is_not_the_default(build, tmp_path):
    plain = {"dataset": "own", "format": "folder"}
    default = indexed(build, tmp_path)
    assert default.params == indexed(build, tmp_path, {"void": 255, "others": "void"}).params == plain
    assert indexed(build, tmp_path, order="reversed").key == default.key
    full = {"1": 1, "2": 2, "3": 3, "4": 4}
    assert indexed(build, tmp_path, {"void": 0}).params == {**plain, "stored": {"0": 255, **full}}
    named = indexed(build, tmp_path, {"labels": {"dog": [7, 8], "cat": 1, "void": 0}}, scenario="1-1")
    assert named.params["stored"] == {"0": 255, "1": 1, "7": 2, "8": 2}
    assert indexed(build, tmp_path, {"split": 0.5}).params == {**plain, "split": 0.5, "split_seed": 0}


@pytest.mark.parametrize(("others", "rest"), [("background", 0), ("void", 255)])
def test_classes_that_the_order_leaves_out(build, tmp_path, others, rest):
    found = indexed(build, tmp_path, {"others": others}, order=["bird", "cat"], scenario="1-1")
    assert found.params["stored"] == {"1": 1, "2": rest, "3": 3, "4": rest}
    with pytest.raises(InputError, match=r"scenario '3-1' does not fit 2 classes"):
        indexed(build, tmp_path, order=["bird", "cat"], scenario="3-1")
    with pytest.raises(InputError, match=r"runs\[0\]: data\.labels: unknown class 'cow'"):
        indexed(build, tmp_path, {"labels": {"cow": 1}})


def test_lists_and_class_names_that_may_be_missing(build, tmp_path):
    root = lay_pictures(tmp_path / "own", "cat", "dog", "bird", "fish")
    (root / "splits" / "a").unlink()
    (root / "splits").rmdir()
    (root / "classes.txt").unlink()
    (root / "labelmap.txt").write_text("cat:1,1,1::\ndog:2,2,2::\nbird:3,3,3::\nfish:4,4,4::\n")
    first = indexed(build, tmp_path, {"split": 0.5})
    (root / "labelmap.txt").write_text("cat:1,1,1::\ndog:2,2,2::\nbird:3,3,3::\nfish:5,5,5::\n")
    assert indexed(build, tmp_path, {"split": 0.5}).key != first.key


def test_a_step_has_the_rates_that_its_method_names(build):
    """In the form that steps of earlier versions have, which `adopt` compares."""
    plan = build({"method": "mib"}, {"method": "ssul"}, {"method": "dkd"})
    found = {}
    for node in plan.of("increment"):
        named = {name: value for name, value in node.params.items() if name.startswith("lr_") or "norms" in name}
        found[node.params["method"]] = named
    assert found == {
        "mib": {"lr_factor": 10.0, "train_norms": True},
        "ssul": {"lr_backbone": 0.0, "lr_decoder": 0.0, "lr_old": 0.0, "lr_new": 100.0},
        "dkd": {},
    }
