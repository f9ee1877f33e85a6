"""params.yaml: what is resolved from where, and what is said of what does not fit."""

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dkd.config import schema as config
from dkd.config import yaml_file
from dkd.errors import InputError

RUN = {"dataset": "shapes", "scenario": "4-1", "method": "dkd", "seed": 0}


def load(tmp_path: Path, content) -> config.Config:
    path = tmp_path / "params.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return config.load(path)


def test_the_shipped_params_are_the_three_methods_on_one_base():
    found = config.load(Path(config.__file__).parents[3] / "params.yaml")
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
    text = (Path(config.__file__).parents[3] / "docs" / "protocol.md").read_text()
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
    source = Path(config.__file__).parents[3]
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


SCALARS = """
010 08 -010 +5 00 0o10 -0o10 0O10 0o8 0b11 0x1F -0x1f 0xG 1_000 0_1 _1 9223372036854775807
1:30 190:20:30 1:30.5 4-1 1.0.0 1,000 1e3 1e-3 1E+3 9.0E-1 1.e3 .5 -.5 +.5 .5e3 .5e+3 5. 1_0.5 ._5 . 1e 1e999
.inf -.inf +.INF inf .nan nan yes no on off y Yes true True TRUE tRue false ~ null Null nUll None 2026-1-5 '010' "yes"
""".split()


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_read_as_dvc_reads_them(text):
    reader = pytest.importorskip("ruamel.yaml")
    [theirs] = reader.YAML(typ="safe").load(f"k: {text}").values()
    [ours] = yaml_file.parse(f"k: {text}").values()
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("1:30", "1:30"), ("0o10", 8), ("1e-3", 0.001), ("yes", "yes"), ("1_000", 1000), ("09", 9)],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert repr(yaml_file.parse(text)) == repr(value)


MERGES = [
    "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n",
    "a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}\n",
    "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], z: 5}\nd: {<<: [*b, *a]}\n",
    "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}\n",
    "a: {<<: {x: 1}, y: 2}\n",
    'a: {"<<": 1}\n',
]


@pytest.mark.parametrize("text", MERGES)
def test_merge_keys_are_read_as_dvc_reads_them(text):
    reader = pytest.importorskip("ruamel.yaml")
    assert yaml_file.parse(text) == reader.YAML(typ="safe").load(text)


def test_merge_keys_and_anchors_in_params(tmp_path):
    text = (
        "base: &b {epochs: 010, lr: 1e-3}\nincrement: {<<: *b, epochs: 3}\nruns:\n"
        "  - &run {dataset: shapes, scenario: 4-1, method: kd, set: {train: {power: 9.0E-1}}}\n"
        "  - {<<: *run, seed: 1}\n"
    )
    first, second = load(tmp_path, text).runs
    assert (first.base.epochs, first.base.lr) == (10, 0.001)
    assert (first.increment.epochs, first.increment.lr) == (3, 0.001)
    assert (first.train.power, second.train.power, second.seed) == (0.9, 0.9, 1)


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: 2026-11-25\n", ", line 1: not readable as YAML: '2026-11-25' is a date in YAML; write it in quotes"),
        (b"a: 1\nname: 2026-13-45\n", ", line 2: not readable as YAML: '2026-13-45' is a date"),
        (b"name: 2026-11-25 10:00:00\n", "is a date in YAML"),
        (b"a: 1\nb: &x [*x]\n", ", line 2: not readable as YAML: an alias stands inside of what it stands for"),
        (b"a: &x {b: *x}\n", "an alias stands inside of what it stands for"),
        (b"a: &x {<<: *x}\n", "an alias stands inside of what it stands for"),
        (b"a: " + b"9" * 5000, ", line 1: not readable as YAML: '" + "9" * 40 + "...' is too large"),
        (b"a: 0x" + b"f" * 5000, "is too large for a whole number"),
        (b"a: 9223372036854775808", "is too large for a whole number; at most 2^63 - 1"),
        (BOMB.encode(), "not readable as YAML: aliases make more than 100,000 values"),
        (MERGE_BOMB.encode(), "not readable as YAML: aliases "),
        (CHAIN.encode(), "aliases nest more than 50 levels deep"),
        (b"a: " + b"[" * 100_000, ", line 1: not readable as YAML: nested more than 50 levels deep"),
        (b"".join(b" " * i + b"a:\n" for i in range(300)), "nested more than 50 levels deep"),
        (b"a: [" + b"1," * 300_000 + b"]", "more than 100,000 values"),
        (b"a: 1\n" * 200_001, ": 1,000,005 bytes; at most 1,000,000 are read"),
        (b"a: 1\nb: \xff\xfe\n", ", line 2: not UTF-8 text; save the file as UTF-8"),
        ("runs: []\n".encode("utf-16"), ", line 1: not UTF-8 text"),
        (b"a: 1\nb: x\0y\n", ", line 2: not readable as YAML: the character '\\x00' is not allowed"),
        (b'a: "x\\0y"\n', ", line 1: not readable as YAML: text with a line break or control character"),
        (b'a: "\\ud800"\n', "text with a line break or control character"),
        (b"a: |\n  x\n  y\n", "text with a line break or control character"),
        ("a: x\u0085b: y\n".encode(), "the character '\\x85' is not allowed"),
        (b"base:\n\tlr: 1\n", ", line 2: not readable as YAML: a tab; indent with spaces"),
        (b"a: {x: 1, y: 2,\n x: 3}\n", ", line 2: not readable as YAML: key 'x' is given twice"),
        (b"a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", ", line 4: not readable as YAML: key '<<' is given twice"),
        (b"a: {<<: 3}\n", "`<<:` takes an alias of a map"),
        (b"a: {<<: [3]}\n", "`<<:` takes an alias of a map"),
        (b"a: <<\n", "'<<' has a meaning of its own in YAML"),
        (b"1: 2\n", ", line 1: not readable as YAML: '1' can't be a key"),
        (b"? [a]\n: 2\n", "a list or map can't be a key"),
        (b"? " + b"k" * 200 + b"\n: 2\n", "can't be a key; keys are words of at most 100 characters"),
        (b"a: !!python/name:os.system x\n", "the tag 'tag:yaml.org,2002:python/name:os.system' has no meaning here"),
        (b"a: !!set {x}\n", "the tag 'tag:yaml.org,2002:set' has no meaning here"),
        (b"a: !!int x\n", "'x' is no int"),
        (b"%YAML 1.1\n---\na: 1\n", "%YAML 1.1: this is read as YAML 1.2; leave the line out"),
        (b"a: 1\n---\nb: 1\n", "expected a single document in the stream, but found another document"),
        (b"a: &x 1\nb: &x 2\n", ", line 2: not readable as YAML: found duplicate anchor 'x'"),
        (b"a: *x\n", ", line 1: not readable as YAML: found undefined alias 'x'"),
        (b"text\n", ": expected keys and values, found str"),
        (b"", ": runs: expected a list with at least one run"),
        (b"# nothing\n", ": runs: expected a list with at least one run"),
    ],
)
def test_a_file_that_can_not_be_read_is_one_line(tmp_path, content, words):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        config.load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}") and words in said and said.isprintable() and len(said) < len(str(path)) + 200


def test_what_is_no_file_is_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, words in (
        ("folder", "is a folder; a YAML file is needed"),
        ("pipe", "is no regular file"),
        ("device", "is no regular file"),
        ("loop", "Too many levels of symbolic links"),
        ("n" * 300, "File name too long"),
    ):
        with pytest.raises(InputError) as caught:
            config.load(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {words}"


def test_anchors_within_bounds_are_read():
    text = "a: &a [" + ", ".join(map(str, range(150))) + "]\nb: [" + ", ".join(["*a"] * 500) + "]\n"
    assert yaml_file.parse(text)["b"] == [list(range(150))] * 500


def test_science_does_without_the_workflow():
    """`import dkd.training.loop` works where pydantic, snakemake and dvc are not installed."""
    code = (
        "import sys\n"
        "for name in ('pydantic', 'typer', 'snakemake', 'dvc'):\n"
        "    sys.modules[name] = None\n"
        "import dkd.training.loop, dkd.evaluate, dkd.report.tables, dkd.data.shapes\n"
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
        (f"runs: [{RUN_TEXT}]\ndata: {{format: folder, root: {'n' * 300}}}\n", "data set 'shapes' not found at"),
        (f"runs: [{RUN_TEXT}]\nmodel: {{pretrained: {'n' * 300}}}\n", "model.pretrained: no file of weights at"),
        (
            f"runs: [{RUN_TEXT}]\ntrain: {{scale: [2, 0.5]}}\n",
            "train.scale: the smaller number comes first, got [2, 0.5]",
        ),
        (f"runs: [{RUN_TEXT}]\ntrain: {{ratio: [2, 1]}}\n", "train.ratio: the smaller number comes first, got [2, 1]"),
        (
            f"runs: [{RUN_TEXT}]\ndata: {{shapes: {{objects: [5, 3]}}}}\n",
            "params.yaml: data.shapes.objects: the smaller number comes first, got [5, 3]",
        ),
        (f"runs: [{RUN_TEXT}]\nbase: {{epochs: 1:30}}\n", 'base.epochs: input should be a valid integer, got "1:30"'),
        (f"runs: [{RUN_TEXT}]\nbase: {{lr: .inf}}\n", "base.lr: input should be a finite number, got Infinity"),
        (f"runs: [{RUN_TEXT}]\nbase: {{lr: {'x' * 999}}}\n", "x..."),
        (f"runs: [{RUN_TEXT}]\ndata: {{shapes: {{seed: -1}}}}\n", "data.shapes.seed: input should be greater than or"),
        (
            f"runs: [{RUN_TEXT}]\ndata: {{partition_seed: 2147483648}}\n",
            "data.partition_seed: input should be less than",
        ),
        ("runs: [{dataset: shapes, scenario: 4-1, method: kd, seed: -1}]\n", "runs[0].seed: input should be greater"),
        (
            "runs: [{dataset: shapes, scenario: 4-1, method: kd, seed: 2147483648}]\n",
            "runs[0].seed: input should be less",
        ),
        ("runs: [{dataset: shapes, scenario: 4-1, method: kd, seed: true}]\n", "runs[0].seed: input should be a valid"),
        (
            f"runs: [{{dataset: shapes, scenario: 4-1, method: kd, order: 'seed:{'9' * 5000}'}}]\n",
            "a seed is a whole number below 2^31",
        ),
        (f"runs: [{{dataset: shapes, scenario: {'9' * 5000}-1, method: kd}}]\n", "write A-B with two positive numbers"),
        ("runs: [{dataset: shapes, scenario: 4-1, method: {kd: 1}}]\n", "unknown method {'kd': 1}"),
        ("runs: [{dataset: shapes, scenario: 4-1, method: [[kd]]}]\n", "unknown method ['kd']"),
        ("runs: [{dataset: shapes, scenario: 4-1, method: 3}]\n", "unknown method 3"),
        ("runs: [{dataset: shapes, scenario: 4-1, method: kd, setting: {a: 1}}]\n", "unknown setting {'a': 1}"),
        (
            f"runs:\n  - {{dataset: shapes, scenario: 4-1, method: [kd, dkd], seed: {list(range(6000))}}}\n",
            "params.yaml: runs: 12,000 runs, 12,000 of them from runs[0]; at most 2,000 fit into one plan, so shorten",
        ),
        (
            f"runs: [{', '.join([RUN_TEXT] * 2001)}]\n",
            "params.yaml: runs: 2,001 runs, 1 of them from runs[0]; at most 2,000",
        ),
        (
            f"runs: [{{dataset: {['d'] * 99}, scenario: {['4-1'] * 99}, method: {['kd'] * 99}, seed: {[1] * 99}}}]\n",
            "96,059,601 runs",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"params\.yaml: No such file"):
        config.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("value", ["false", "null", "", "[]", "[1]", "0", "3", "''", "word"])
@pytest.mark.parametrize("section", [*config.TOP])
def test_a_section_that_is_no_map_is_one_line(tmp_path, section, value):
    given = {"": "null", "''": '""', "word": '"word"'}.get(value, value)
    said = f"{section}: expected keys and values, got {given}; leave {section} out if it has none"
    cases = [(f"runs: [{RUN_TEXT}]\n{section}: {value}\n", f"{tmp_path / 'params.yaml'}: {said}")]
    if section in config.SECTIONS:
        text = f"runs: [{{dataset: shapes, scenario: 4-1, method: dkd, set: {{{section}: {value}}}}}]\n"
        cases.append((text, f"{tmp_path / 'params.yaml'}: runs[0].set.{said}"))
        with pytest.raises(InputError, match=f"^{section}: expected keys and values, got "):
            config.recipe("shapes", [f"{section}={value}"])
    for text, words in cases:
        with pytest.raises(InputError) as caught:
            load(tmp_path, text)
        assert str(caught.value) == words


@pytest.mark.parametrize("value", ["false", "null", "[]", "0", "word"])
def test_runs_and_set_of_a_wrong_type_are_one_line(tmp_path, value):
    for text, words in (
        (f"runs: {value}\n", "runs: expected a list with at least one run"),
        (f"runs: [{value}]\n", "runs[0]: expected keys dataset, scenario"),
        (
            f"runs: [{{dataset: shapes, scenario: 4-1, method: kd, set: {value}}}]\n",
            "runs[0].set: expected sections such",
        ),
    ):
        with pytest.raises(InputError) as caught:
            load(tmp_path, text)
        assert words in str(caught.value) and "\n" not in str(caught.value)


ODD_NAMES = [*".. . .hidden -rf _x a/b /tmp a\\b é ~x a:b $HOME {x} *".split(), "", "a b", "x" * 61, 3, None, True, {}]


@pytest.mark.parametrize("name", [*ODD_NAMES, "a" * 24, "x" + "ab" * 20])
def test_names_of_data_sets_stay_within_the_project(tmp_path, name):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "classes.txt").write_text("none\nrose\ntulip\n")
    content = {"runs": [{"dataset": name, "scenario": "1-1", "method": "dkd"}], "data": {"root": "pictures"}}
    with pytest.raises(InputError, match=r"runs\[0\]\.dataset: ") as caught:
        load(tmp_path, json.dumps(content))
    assert "\n" not in str(caught.value)
    for sound in ("garden", "2012", "A.b_c-d", "x" * 5 + "yz" * 19 + "v1", "x." * 9):
        content["runs"][0]["dataset"] = sound
        assert load(tmp_path, json.dumps(content)).runs[0].dataset == sound


@pytest.mark.parametrize("name", ["..", ".x", "-x", "+x", "", "a/b", "x" * 121, 3, True, "a\tb", "é"])
def test_names_of_runs_are_checked(tmp_path, name):
    with pytest.raises(InputError, match=r"runs\[0\]\.name: expected a name of|text with a line break"):
        load(tmp_path, json.dumps({"runs": [{**RUN, "name": name}]}))
    assert load(tmp_path, {"runs": [{**RUN, "name": "x" * 120}]}).runs[0].name == "x" * 120


def test_a_long_name_made_of_parts_is_shortened(tmp_path):
    root = tmp_path / "data" / "raw" / "many"
    root.mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(f"class{label}" for label in range(101)) + "\n")

    def names(sizes):
        return [run.name for run in load(tmp_path, {"runs": [{**item, "scenario": sizes, "seed": [0, 1]}]}).runs]

    item = {"dataset": "many", "method": "dkd-m", "order": ["default", "reversed"]}
    assert names([60, *[2] * 19, 1, 1])[0] == f"many_60{'+2' * 19}+1+1_overlap_dkd-m_s0_default"
    long = names([2, 2, *[1] * 96])
    assert len(set(long)) == 4 and all(len(name) == 120 for name in long)
    assert long[0].startswith("many_2+2+1+1") and long[0].endswith("+1_overlap_dkd-m_s0_default")
    assert names([2, 2, *[1] * 96]) == long and not set(names([1, 3, *[1] * 96])) & set(long)


def test_an_order_from_what_is_no_file_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "large.txt").write_text(f"{'9' * 5000}, 1\n")
    for name, words in (
        ("pipe.txt", "nor a readable file (not a file: "),
        ("folder.txt", "nor a readable file (not a file: "),
        (f"{'n' * 300}.txt", "nor a readable file (File name too long: "),
        ("large.txt", "order: unknown class '99999"),
    ):
        with pytest.raises(InputError) as caught:
            load(tmp_path, {"runs": [{**RUN, "order": name}]})
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_settings_on_the_command_line_are_read_like_the_file():
    sections = config.recipe("shapes", ["base.epochs=010", "base.lr=1e-3"])
    assert (sections["base"].epochs, sections["base"].lr) == (10, 0.001)
    for setting, words in (
        ("base.epochs=2026-11-25", "is a date in YAML"),
        ("base.epochs=[", "'[' is not a YAML value"),
        ("base.epochs=&x [*x]", "an alias stands inside"),
        (f"{'base.' * 2000}x=1", "write section.key=value"),
        ("train.scale=[2, 1]", "train.scale: the smaller number comes first"),
    ):
        with pytest.raises(InputError) as caught:
            config.recipe("shapes", [setting])
        assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b.py", "a.b.py", "a-b.py", "x" * 61 + ".py", "aé.py"])
def test_a_method_whose_file_has_no_sound_name_is_one_line(methods, name):
    (methods / name).write_text("OPTIONS = {}\n")
    with pytest.raises(InputError, match="a method's file is named by letters, digits and _, at most 60; rename it"):
        config.methods()
