"""Options of methods: read from the method's file, checked like every key, and what a faulty file does."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from dkd.config import methods, read
from dkd.methods import module_name

from .conftest import RUN

ROOT = Path(__file__).parents[3]
REPLAY = '"memory": 5, "confidence": 0.5, "replay": ("current", "stored")'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of methods for one test."""
    monkeypatch.setattr(methods, "FOLDER", tmp_path)
    methods.options.cache_clear()
    yield tmp_path
    methods.options.cache_clear()


def test_options_are_those_that_python_sees():
    for name, options in methods.options().items():
        assert getattr(import_module(module_name(name)), "OPTIONS", {}) == options
    assert {"finetune", "kd", "dkd", "dkd-m", "joint"} <= methods.options().keys()
    assert methods.options()["dkd-m"].items() > methods.options()["dkd"].items()


def test_heads_are_those_that_python_sees():
    for name in methods.options():
        assert getattr(import_module(module_name(name)), "HEAD", "sigmoid") == methods.head(name)
    assert methods.head("mib") == "softmax" and methods.head("dkd") == "sigmoid"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('HEAD = "both"', "HEAD: expected sigmoid or softmax or unknown, got 'both'"),
        ("HEAD = [1]", "HEAD: expected sigmoid or softmax or unknown, got [1]"),
        (
            "from dkd.methods.mib import HEAD",
            'HEAD cannot be read (line 1 is not a plain `HEAD = "..."`); write a word',
        ),
    ],
)
def test_a_faulty_head_is_one_line(folder, refused, text, words):
    (folder / "my_head.py").write_text(text)
    methods.head.cache_clear()
    assert refused(lambda: methods.head("my-head")).startswith(f"{folder / 'my_head.py'}: {words}")


def test_options_may_be_annotated(folder):
    (folder / "one.py").write_text(
        f'"""A method."""\nOPTIONS: dict[str, object] = {{"a": ("x", "y"), "b": 2, {REPLAY}}}\n'
    )
    (folder / "two.py").write_text("TEACHER = True\n")
    one = {"a": ("x", "y"), "b": 2, "memory": 5, "confidence": 0.5, "replay": ("current", "stored")}
    assert methods.options() == {"one": one, "two": {}}
    assert methods.section()().one.model_dump() == {**one, "a": "x", "replay": "current"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def loss(:\n    pass", ", line 1: not readable as Python: invalid syntax"),
        ("OPTIONS = {", ", line 1: not readable as Python: '{' was never closed"),
        ('OPTIONS = {"a": print}', ": OPTIONS cannot be read (malformed node or string on line 1); write a dict of"),
        ("OPTIONS = {[]: 1}", ": OPTIONS cannot be read ("),
        ("\nfrom dkd.methods.kd import OPTIONS", ": OPTIONS cannot be read (line 2 is not a plain `OPTIONS = {...}`);"),
        ('OPTIONS = {}\nOPTIONS |= {"a": 1}', ": OPTIONS cannot be read (line 2 is not a plain "),
        ("OPTIONS = [1]", ": OPTIONS: expected a dict of names and plain values, got [1]"),
        ("OPTIONS = {1: 2}", ": OPTIONS: 1 cannot be the name of an option; choose another name"),
        ('OPTIONS = {"model_dump": 2}', ": OPTIONS: 'model_dump' cannot be the name of an option"),
        ('OPTIONS = {"a": ()}', ": OPTIONS.a: expected a number, a string or a tuple of strings, got ()"),
        ('OPTIONS = {"a": (1, 2)}', ": OPTIONS.a: expected a number, a string or a tuple of strings, got (1, 2)"),
        ('OPTIONS = {"a": None}', ": OPTIONS.a: expected a number, a string or a tuple of strings, got None"),
        ('OPTIONS = {"a": -1.0}', ": OPTIONS.a: input should be greater than or equal to 0, got -1.0"),
        ('OPTIONS = {"a": 1e999}', ": OPTIONS.a: input should be a finite number, got inf"),
        ('OPTIONS = {"memory": 5}', ": OPTIONS.confidence: missing; memory, confidence, replay go together"),
        (f"OPTIONS = {{{REPLAY}}}".replace("5,", "0,", 1), ": OPTIONS.memory: input should be greater than or equal"),
        (f"OPTIONS = {{{REPLAY}}}".replace("5,", "('a',),", 1), ": OPTIONS.memory: input should be a valid integer"),
        (f"OPTIONS = {{{REPLAY}}}".replace("0.5", "7"), ": OPTIONS.confidence: input should be less than or equal to"),
    ],
)
def test_a_faulty_file_is_one_line(folder, load, refused, text, words):
    (folder / "my_own.py").write_text(text)
    assert not methods.section().model_fields, "importing the schema does not fail; asking for values does"
    for call in (methods.options, lambda: read.recipe("shapes", []), lambda: load({"runs": [RUN]})):
        assert refused(call).startswith(f"{folder / 'my_own.py'}{words}")


@pytest.mark.parametrize("name", ["a b.py", "a.b.py", "a-b.py", "x" * 61 + ".py", "aé.py"])
def test_a_file_with_an_unsuitable_name_is_one_line(folder, refused, name):
    (folder / name).write_text("OPTIONS = {}\n")
    words = "the name of a method's file has at most 60 letters, digits and _; rename the file"
    assert refused(methods.options) == f"{folder / name}: {words}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dkd-m": {"replay": "old"}}, "methods.dkd-m.replay: input should be 'current', 'stored' or 'pseudo'"),
        ({"dkd-m": {"memory": 0}}, "methods.dkd-m.memory: input should be greater than or equal to 1, got 0"),
        ({"dkd": {"kd": -1}}, "methods.dkd.kd: input should be greater than or equal to 0"),
        ({"dkd-m": {"memry": 3}}, "methods.dkd-m.memry: unknown key; did you mean 'memory'?"),
    ],
)
def test_values_are_checked(load, refused, options, words):
    assert words in refused(load, {"runs": [RUN], "methods": options})


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["dkd.cli", "--help"], 0),
        (["dkd.cli", "train", "--help"], 0),
        (["dkd.cli", *"train --data . --index i --tasks t --step 0 --out o".split()], 1),
        (["pipeline", "--help"], 0),
        (["pipeline", "status"], 1),
    ],
)
def test_commands_that_need_no_options_work_beside_a_faulty_file(tmp_path, command, status):
    for name in ("src", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "src" / "dkd" / "methods" / "mine.py").write_text('OPTIONS = {"a": print}\n')
    shutil.copy(ROOT / "params.yaml", tmp_path)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{tmp_path / 'src'}"}
    done = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    if status:
        assert done.stderr.startswith("dkd: ") and done.stderr.count("\n") == 1 and "mine.py: OPTIONS" in done.stderr
    else:
        assert not done.stderr
