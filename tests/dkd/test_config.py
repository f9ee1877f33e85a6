"""params.yaml: what is resolved from where, and what is said of what does not fit."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dkd import config
from dkd.errors import InputError

RUN = {"dataset": "shapes", "scenario": "4-1", "method": "dkd", "seed": 0}


def load(tmp_path: Path, content) -> config.Config:
    path = tmp_path / "params.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return config.load(path)


def test_the_shipped_params_are_the_three_methods_on_one_base():
    found = config.load(Path(config.__file__).parents[2] / "params.yaml")
    assert [run.name for run in found.runs] == [f"shapes_4-1_overlap_{m}_s0" for m in ("finetune", "kd", "dkd")]
    assert {run.sizes for run in found.runs} == {(4, 1, 1)}
    assert len({run.model_dump_json(include={"model", "train", "base", "seed"}) for run in found.runs}) == 1


@pytest.mark.parametrize("name", list(config.presets()))
def test_every_preset_is_read(name):
    sections = config.recipe(name, [])
    given = config.read_yaml(config.presets()[name])
    for section, values in given.items():
        dumped = sections[section].model_dump(mode="json")
        assert config.merge(dumped, values) == dumped, "what the preset says is what comes out"


def test_defaults_below_preset_below_top_below_set(tmp_path):
    preset = config.recipe("shapes", [])
    runs = [RUN, {**RUN, "seed": 1, "set": {"base": {"lr": 0.5}, "data": {"shapes": {"train": 9}}}}]
    first, second = load(tmp_path, {"runs": runs, "base": {"lr": 0.25, "pos_weight": 3.0}}).runs
    assert (first.base.lr, first.base.pos_weight) == (0.25, 3.0)
    assert (second.base.lr, second.base.pos_weight) == (0.5, 3.0)
    assert first.model == preset["model"] and second.data.shapes.train == 9
    assert second.data.shapes.size == preset["data"].shapes.size


def test_a_list_makes_the_product(tmp_path):
    item = {**RUN, "method": ["kd", "dkd"], "seed": [0, 1], "scenario": ["4-1", [3, 3]]}
    runs = load(tmp_path, {"runs": [item]}).runs
    assert len(runs) == 8 and len({run.name for run in runs}) == 8
    assert {run.sizes for run in runs} == {(4, 1, 1), (3, 3)}


def test_orders_by_word_and_from_files(tmp_path):
    (tmp_path / "mine.txt").write_text("star\nring\ncross\ntriangle\nsquare\ndisc\n")
    (tmp_path / "labels.txt").write_text("6, 5, 4, 3, 2, 1\n")
    words = ["default", "reversed", "seed:3", "seed:4", "mine.txt", "labels.txt"]
    runs = load(tmp_path, {"runs": [{**RUN, "order": [*words[:4], [2, 1, 3, 4, 5, 6]]}]}).runs
    assert [run.name.rpartition("_s0")[2] for run in runs] == ["_default", "_reversed", "_seed3", "_seed4", "_o5"]
    orders = [load(tmp_path, {"runs": [{**RUN, "order": word}]}).runs[0].order for word in words]
    assert [run.order for run in runs[:4]] == orders[:4]
    assert orders[0] == (1, 2, 3, 4, 5, 6) and orders[1] == orders[4] == orders[5] == (6, 5, 4, 3, 2, 1)
    assert sorted(orders[3]) == [1, 2, 3, 4, 5, 6] and len(set(orders)) == 4
    assert orders[2] == (6, 5, 4, 2, 3, 1), "drawn orders are the same everywhere and for ever"
    with pytest.raises(InputError, match=r"order 'none': neither default, reversed, seed:N nor a readable file"):
        load(tmp_path, {"runs": [{**RUN, "order": "none"}]})


def test_a_data_set_in_data_raw_needs_no_root(tmp_path):
    root = tmp_path / "data" / "raw" / "garden"
    root.mkdir(parents=True)
    (root / "classes.txt").write_text("none\nrose\ntulip\n")
    [run] = load(tmp_path, {"runs": [{"dataset": "garden", "scenario": "1-1", "method": "dkd"}]}).runs
    assert run.data.root == str(root) and run.sizes == (1, 1)


def test_cityscapes_is_read_as_it_was_fetched(tmp_path):
    item = {"dataset": "cityscapes", "scenario": "10-9", "method": "dkd"}
    with pytest.raises(InputError, match=r"data set 'cityscapes' not found at .*data/raw/cityscapes; set data.root"):
        load(tmp_path, {"runs": [item]})
    (tmp_path / "data" / "raw" / "cityscapes").mkdir(parents=True)
    [run] = load(tmp_path, {"runs": [item]}).runs
    assert run.data.format == "cityscapes" and run.sizes == (10, 9)
    camvid = config.recipe("camvid", [])["evaluate"]
    for key in ("protocol", "unseen", "count_background"):
        assert getattr(run.evaluate, key) == getattr(camvid, key), "neither has pixels of background"
    voc = config.recipe("voc2012", [])
    assert all(getattr(run, key) == voc[key] for key in ("model", "train", "base", "increment", "methods"))


def test_options_of_the_published_method(tmp_path):
    """The defaults are as released; the paper's ablation in docs/protocol.md is one list of runs."""
    [run] = load(tmp_path, {"runs": [RUN]}).runs
    released = {"start": "auxiliary", "kd": 5, "dkd": 5, "ac": 1, "decomposition": "weight", "resolution": "grid"}
    assert run.methods.dkd.model_dump() == released
    assert (run.methods.finetune.start, run.methods.kd.start, run.train.void) == ("random", "random", "negative")
    text = (Path(config.__file__).parents[2] / "docs" / "protocol.md").read_text()
    block = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    for item in block["runs"]:
        item |= {"dataset": "shapes", "scenario": "4-1"}
    runs = load(tmp_path, block).runs
    assert [run.name for run in runs] == ["mbce-kd", "with-dkd", "with-ac", "both"]
    shown = [(run.methods.dkd.dkd, run.methods.dkd.ac, run.methods.dkd.start) for run in runs]
    assert shown == [(0, 0, "random"), (5, 0, "random"), (0, 1, "auxiliary"), (5, 1, "auxiliary")]


def test_every_method_says_its_options():
    """A method's file is where its options stand; what is read without importing is what Python sees."""
    for name, options in config.methods().items():
        module = import_module(f"dkd.methods.{name.replace('-', '_')}")
        assert getattr(module, "OPTIONS", {}) == options
    assert {"finetune", "kd", "dkd", "dkd-m", "joint"} <= config.methods().keys()
    assert config.methods()["dkd-m"].items() > config.methods()["dkd"].items()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dkd-m": {"replay": "old"}}, "methods.dkd-m.replay: input should be 'current', 'stored' or 'pseudo'"),
        ({"dkd-m": {"memory": 1.5}}, "methods.dkd-m.memory: "),
        ({"dkd-m": {"memory": 0}}, "methods.dkd-m.memory: input should be greater than or equal to 1, got 0"),
        ({"dkd-m": {"confidence": 7}}, "methods.dkd-m.confidence: input should be less than or equal to 1, got 7"),
        ({"dkd": {"kd": -1}}, "methods.dkd.kd: input should be greater than or equal to 0"),
        ({"dkdm": {}}, "methods.dkdm: unknown key; did you mean 'dkd"),
        ({"dkd-m": {"memry": 3}}, "methods.dkd-m.memry: unknown key; did you mean 'memory'?"),
    ],
)
def test_options_are_checked(tmp_path, options, said):
    with pytest.raises(InputError) as caught:
        load(tmp_path, {"runs": [RUN], "methods": options})
    assert said in str(caught.value)


@pytest.fixture
def methods(tmp_path, monkeypatch):
    """A folder of methods for this test alone, which are read anew."""
    monkeypatch.setattr(config, "METHODS", tmp_path)
    config.methods.cache_clear()
    yield tmp_path
    config.methods.cache_clear()


REPLAY = '"memory": 5, "confidence": 0.5, "replay": ("current", "stored")'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def loss(:\n    pass", ", line 1: not readable as Python: invalid syntax"),
        ("OPTIONS = {", ", line 1: not readable as Python: '{' was never closed"),
        ('OPTIONS = {"a": print}', ": OPTIONS can't be read (malformed node or string on line 1); write a dict of"),
        ("OPTIONS = {[]: 1}", ": OPTIONS can't be read ("),
        ("\nfrom dkd.methods.kd import OPTIONS", ": OPTIONS can't be read (line 2 is no plain `OPTIONS = {...}`); "),
        ('OPTIONS = {}\nOPTIONS |= {"a": 1}', ": OPTIONS can't be read (line 2 is no plain "),
        ("OPTIONS = [1]", ": OPTIONS: expected a dict of names and plain values, got [1]"),
        ("OPTIONS = {1: 2}", ": OPTIONS: 1 can't be the name of an option"),
        ('OPTIONS = {"model_dump": 2}', ": OPTIONS: 'model_dump' can't be the name of an option"),
        ('OPTIONS = {"a": ()}', ": OPTIONS.a: expected a number, a word or a tuple of words, got ()"),
        ('OPTIONS = {"a": (1, 2)}', ": OPTIONS.a: expected a number, a word or a tuple of words, got (1, 2)"),
        ('OPTIONS = {"a": None}', ": OPTIONS.a: expected a number, a word or a tuple of words, got None"),
        ('OPTIONS = {"a": -1.0}', ": OPTIONS.a: input should be greater than or equal to 0, got -1.0"),
        ('OPTIONS = {"a": 1e999}', ": OPTIONS.a: input should be a finite number, got inf"),
        ('OPTIONS = {"memory": 5}', ": OPTIONS.confidence: missing; memory, confidence, replay go together"),
        (f"OPTIONS = {{{REPLAY}}}".replace("5,", "0,", 1), ": OPTIONS.memory: input should be greater than or equal"),
        (f"OPTIONS = {{{REPLAY}}}".replace("5,", "('a',),", 1), ": OPTIONS.memory: input should be a valid integer"),
        (f"OPTIONS = {{{REPLAY}}}".replace("0.5", "7"), ": OPTIONS.confidence: input should be less than or equal to"),
    ],
)
def test_a_faulty_method_file_is_one_line(methods, text, said):
    (methods / "my_own.py").write_text(text)
    assert not config._methods().model_fields, "what is imported can't fail; what asks for values does"
    for ask in (config.methods, lambda: config.recipe("shapes", []), lambda: load(methods, {"runs": [RUN]})):
        with pytest.raises(InputError) as caught:
            ask()
        assert str(caught.value).startswith(f"{methods / 'my_own.py'}{said}") and "\n" not in str(caught.value)


def test_options_may_be_annotated(methods):
    (methods / "one.py").write_text(
        f'"""A method."""\nOPTIONS: dict[str, object] = {{"a": ("x", "y"), "b": 2, {REPLAY}}}\n'
    )
    (methods / "two.py").write_text("TEACHER = True\n")
    one = {"a": ("x", "y"), "b": 2, "memory": 5, "confidence": 0.5, "replay": ("current", "stored")}
    assert config.methods() == {"one": one, "two": {}}
    assert config._methods()().one.model_dump() == {**one, "a": "x", "replay": "current"}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["dkd.cli", "--help"], 0),
        (["dkd.cli", "train", "--help"], 0),
        (["dkd.cli", *"train --data . --index i --tasks t --step 0 --out o".split()], 1),
        (["pipeline", "--help"], 0),
        (["pipeline", "status"], 1),
    ],
)
def test_commands_outlive_a_faulty_method_file(tmp_path, command, code):
    """Those that need no options work; the others name the file in one line."""
    source = Path(config.__file__).parents[2]
    for name in ("src", "pipeline"):
        shutil.copytree(source / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "src" / "dkd" / "methods" / "mine.py").write_text('OPTIONS = {"a": print}\n')
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"runs": [RUN]}))
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{tmp_path / 'src'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.startswith("dkd: ") and done.stderr.count("\n") == 1 and "mine.py: OPTIONS" in done.stderr
    else:
        assert not done.stderr


def test_orders_by_label_and_by_name(tmp_path):
    names = ["star", "ring", "cross", "triangle", "square", "disc"]
    orders = [[6, 5, 4, 3, 2, 1], names]
    one, two = (load(tmp_path, {"runs": [{**RUN, "order": order}]}).runs[0] for order in orders)
    assert one == two and one.order == (6, 5, 4, 3, 2, 1)
    both = load(tmp_path, {"runs": [{**RUN, "order": [orders[0], [1, 2, 3, 4, 6, 5]]}]}).runs
    assert [run.name for run in both] == ["shapes_4-1_overlap_dkd_s0_o1", "shapes_4-1_overlap_dkd_s0_o2"]


def test_numbers_are_those_of_yaml_1_2(tmp_path):
    text = "runs:\n  - {dataset: shapes, scenario: 4-1, method: kd, set: {base: {lr: 1e-3}}}\ntrain: {power: 9.0E-1}\n"
    run = load(tmp_path, text).runs[0]
    assert (run.base.lr, run.train.power) == (0.001, 0.9)


def test_science_does_without_the_workflow():
    """`import dkd.train` works where pydantic, snakemake and dvc are not installed."""
    code = (
        "import sys\n"
        "for name in ('pydantic', 'typer', 'snakemake', 'dvc'):\n"
        "    sys.modules[name] = None\n"
        "import dkd.train, dkd.evaluate, dkd.report.summary, dkd.datasets.shapes\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


RUN_TEXT = "{dataset: shapes, scenario: 4-1, method: dkd}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runs: [", "params.yaml, line 1: not readable as YAML"),
        ("- a\n", "expected keys and values"),
        ("runs: []\n", "runs: expected a list with at least one run"),
        (f"runz: [{RUN_TEXT}]\n", "runz: unknown key; did you mean 'runs'?"),
        (f"runs: [{RUN_TEXT}]\nruns: [{RUN_TEXT}]\n", "line 2: not readable as YAML: key 'runs' is given twice"),
        (f"runs: [{RUN_TEXT}]\ntrain: {{lrr: 1}}\n", "params.yaml: train.lrr: unknown key; known: batch, crop"),
        (f"runs: [{RUN_TEXT}]\nbase: {{epoch: 1}}\n", "params.yaml: base.epoch: unknown key; did you mean 'epochs'?"),
        (
            f"runs: [{RUN_TEXT}]\nbase: {{lr: high}}\n",
            'params.yaml: base.lr: input should be a valid number, got "high"',
        ),
        (f"runs: [{RUN_TEXT}]\nbase: {{epochs: 1.5}}\n", "params.yaml: base.epochs: input should be a valid integer"),
        (
            f"runs: [{RUN_TEXT}]\nbase: {{epochs: 0}}\n",
            "base.epochs: input should be greater than or equal to 1, got 0",
        ),
        (f"runs: [{RUN_TEXT}]\nbase: 3\n", "params.yaml: base: "),
        (
            f"runs: [{RUN_TEXT}]\nruntime: {{thread: 1}}\n",
            "params.yaml: runtime.thread: unknown key; did you mean",
        ),
        (
            f"runs: [{RUN_TEXT}]\nruntime: {{device: tpu}}\n",
            "params.yaml: runtime.device: input should be 'auto', 'cpu'",
        ),
        (f"runs: [{RUN_TEXT}]\nmethods: {{dkd: {{kdd: 1.0}}}}\n", "methods.dkd.kdd: unknown key; did you mean 'kd'?"),
        (
            f"runs: [{RUN_TEXT}]\nmethods: {{dkd-m: {{memory: 0}}}}\n",
            "methods.dkd-m.memory: input should be greater than",
        ),
        (
            f"runs: [{RUN_TEXT}]\nmethods: {{dkd-m: {{confidence: 7}}}}\n",
            "methods.dkd-m.confidence: input should be less",
        ),
        (
            "runs: [{dataset: shapes, scenario: 4-1, method: kd, set: {base: {lr: -1.0}}}]\n",
            "runs[0].set.base.lr: input",
        ),
        (
            "runs: [{dataset: shapes, scenario: 4-1, method: kd, set: {bas: {}}}]\n",
            "set.bas: unknown key; did you mean 'base'",
        ),
        (
            "runs: [{dataset: shapes, scenari: 4-1, method: kd}]\n",
            "runs[0].scenari: unknown key; did you mean 'scenario'?",
        ),
        ("runs: [{dataset: shapes, method: kd}]\n", "runs[0].scenario: missing"),
        ("runs: [{dataset: shape, scenario: 4-1, method: kd}]\n", "unknown data set 'shape'; did you mean 'shapes'?"),
        ("runs: [{dataset: shapes, scenario: 4-3, method: kd}]\n", "scenario '4-3' does not fit 6 classes"),
        ("runs: [{dataset: shapes, scenario: many, method: kd}]\n", "scenario 'many': write A-B"),
        (
            "runs: [{dataset: shapes, scenario: [4, 1], method: kd}]\n",
            "scenario [4, 1] adds up to 5 classes, the data set has 6",
        ),
        ("runs: [{dataset: shapes, scenario: 4-1, method: kkd}]\n", "unknown method 'kkd'; did you mean"),
        ("runs: [{dataset: shapes, scenario: 4-1, method: kd, setting: overlapp}]\n", "did you mean 'overlap'?"),
        (
            "runs: [{dataset: shapes, scenario: 4-1, method: kd, seed: x}]\n",
            'runs[0].seed: input should be a valid integer, got "x"',
        ),
        (
            "runs: [{dataset: shapes, scenario: 4-1, method: kd, order: [1, 2]}]\n",
            "class order must name each label 1..6 once",
        ),
        (
            "runs: [{dataset: shapes, scenario: 4-1, method: kd, order: [disk, star]}]\n",
            "order: unknown class 'disk'; did you mean 'disc'?",
        ),
        (f"runs: [{RUN_TEXT}, {RUN_TEXT}]\n", "are the same run; drop one"),
        (
            f"runs: [{RUN_TEXT}, {{dataset: shapes, scenario: 4-1, method: dkd, set: {{base: {{lr: 1.0}}}}}}]\n",
            "two different runs are called 'shapes_4-1_overlap_dkd_s0'",
        ),
        ("runs: [{dataset: shapes, scenario: 4-1, method: [kd, dkd], name: x}]\n", "'x' would name 2 runs"),
        ("runs: [{dataset: mine, scenario: 4-1, method: kd, set: {data: {root: nowhere}}}]\n", "not found at"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"params\.yaml: No such file"):
        config.load(tmp_path / "params.yaml")
