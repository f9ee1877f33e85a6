"""Values that fit their keys, and the line for one that does not."""

import json

import pytest

from dkd.config import read, schema
from dkd.data import catalog, tasks

from .conftest import RUN


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"train": {"lrr": 1}}, "train.lrr: unknown key; known: batch, crop"),
        ({"base": {"epoch": 1}}, "base.epoch: unknown key; did you mean 'epochs'?"),
        ({"base": {"lr": "high"}}, 'base.lr: input should be a valid number, got "high"'),
        ({"base": {"lr": "x" * 999}}, f'base.lr: input should be a valid number, got "{"x" * 79}...'),
        ({"base": {"epochs": 1.5}}, "base.epochs: input should be a valid integer, got 1.5"),
        ({"base": {"epochs": 0, "lr": 0}}, "base.epochs: input should be greater than or equal to 1, got 0 (and 1 mor"),
        (
            {"runtime": {"tensorboard": True}},
            "runtime.tensorboard: is now `trackers: [tensorboard]`; write that or leave it out",
        ),
        ({"runtime": {"trackers": ["aim"]}}, "runtime.trackers.0: input should be 'tensorboard', 'wandb', 'mlflow' or"),
        ({"runtime": {"thread": 1}}, "runtime.thread: unknown key; did you mean 'threads'?"),
        ({"runtime": {"device": "mps", "processes": 2}}, "runtime.processes: expected 1, since processes cannot share"),
        ({"runtime": {"device": "tpu"}}, "runtime.device: input should be 'auto', 'cpu', 'cuda' or 'mps', got \"tpu\""),
        ({"train": {"scale": [2, 0.5]}}, "train.scale: the smaller number must come first, got [2, 0.5]"),
        ({"train": {"ratio": [2, 1]}}, "train.ratio: the smaller number must come first, got [2, 1]"),
        ({"data": {"shapes": {"objects": [5, 3]}}}, "data.shapes.objects: the smaller number must come first"),
        ({"data": {"shapes": 3}}, "data.shapes: expected a map of keys and values, got 3"),
        ({"data": {"shapes": {"seed": -1}}}, "data.shapes.seed: input should be greater than or equal to 0, got -1"),
        ({"data": {"partition_seed": 2**31}}, "data.partition_seed: input should be less than 2147483648"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_file_and_key(tmp_path, load, refused, sections, words):
    assert refused(load, {"runs": [RUN], **sections}).startswith(f"{tmp_path / 'params.yaml'}: {words}")


def test_trackers_are_a_list_of_names(load):
    assert load({"runs": [RUN], "runtime": {"trackers": ["wandb", "mlflow"]}}).runtime.trackers == ("wandb", "mlflow")


def test_a_null_is_refused_where_it_is_written(tmp_path, load, refused):
    line = refused(load, {"runs": [RUN], "base": {"lr": None}})
    assert line == f"{tmp_path / 'params.yaml'}: base.lr: input should be a valid number, got null"


def test_numbers_must_be_finite_and_base_60_is_text(load, refused):
    for value, words in ((".inf", "a finite number, got Infinity"), ("1:30", 'a valid number, got "1:30"')):
        text = f"runs: [{{dataset: shapes, scenario: 4-1, method: dkd}}]\nbase: {{lr: {value}}}\n"
        assert refused(load, text).endswith(f"params.yaml: base.lr: input should be {words}")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"set": {"base": {"lr": -1.0}}}, "set.base.lr: input should be greater than 0, got -1.0"),
        ({"scenari": "4-1", "scenario": None}, "scenari: unknown key; did you mean 'scenario'?"),
        (
            {"dataset": None},
            "dataset: expected a name of at most 60 letters, digits, _ . -, a letter or digit first, g",
        ),
        ({"method": 3}, "method: input should be a valid string, got 3"),
        ({"method": [["kd"]]}, 'method: input should be a valid string, got ["kd"]'),
        ({"setting": "overlapp"}, "setting: input should be 'overlap', 'disjoint', 'sequential' or 'partitioned', got"),
        ({"setting": {"a": 1}}, "setting: input should be 'overlap', 'disjoint', 'sequential' or 'partitioned', got"),
        ({"seed": "x"}, 'seed: input should be a valid integer, got "x"'),
        ({"seed": True}, "seed: input should be a valid integer, got true"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, got -1"),
        ({"seed": 2**31}, "seed: input should be less than 2147483648, got 2147483648"),
        ({"scenario": 3}, "scenario: expected A-B with two positive numbers (15-1), or a list of sizes, got 3"),
        (
            {"scenario": f"{'9' * 5000}-1"},
            "scenario: expected A-B with two positive numbers (15-1), or a list of sizes",
        ),
    ],
)
def test_a_key_of_a_run_that_does_not_fit_is_refused_with_its_place(tmp_path, load, refused, keys, words):
    content = {"runs": [RUN, {**RUN, **keys}]}
    assert refused(load, content).startswith(f"{tmp_path / 'params.yaml'}: runs[1].{words}")


def test_required_keys(tmp_path, load, refused):
    for key in ("dataset", "scenario", "method"):
        item = {name: value for name, value in RUN.items() if name != key}
        assert refused(load, {"runs": [item]}) == f"{tmp_path / 'params.yaml'}: runs[0].{key}: missing"


@pytest.mark.parametrize("section", [*schema.TOP])
def test_a_section_that_is_not_a_map_is_refused(tmp_path, load, refused, section):
    for value in (False, None, [], [1], 0, "", "word"):
        words = (
            f"{section}: expected a map of keys and values, got {json.dumps(value)}; leave {section} out to keep its "
            "defaults"
        )
        assert refused(load, {"runs": [RUN], section: value}) == f"{tmp_path / 'params.yaml'}: {words}"
        if section in schema.SECTIONS:
            line = refused(load, {"runs": [{**RUN, "set": {section: value}}]})
            assert line == f"{tmp_path / 'params.yaml'}: runs[0].set.{words}"
            assert refused(read.recipe, "shapes", [f"{section}={json.dumps(value)}"]) == words


@pytest.mark.parametrize("value", [False, None, [], 0, "word"])
def test_runs_and_set_of_a_wrong_type_are_refused(load, refused, value):
    assert "params.yaml: runs: expected a list with at least one run" in refused(load, {"runs": value})
    assert "runs[0]: expected a map with the keys dataset, scenario, method, setting" in refused(
        load, {"runs": [value]}
    )
    assert "runs[0].set: expected a map of keys and values" in refused(load, {"runs": [{**RUN, "set": value}]})


UNSUITABLE = [*".. . .hidden -rf _x a/b /tmp a\\b é ~x a:b $HOME {x} *".split(), "", "a b", "x" * 61, 3, True, {}]


@pytest.mark.parametrize("name", [*UNSUITABLE, "a" * 24, "x" + "ab" * 20])
def test_names_of_data_sets_are_parts_of_paths(tmp_path, load, refused, name):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "classes.txt").write_text("none\nrose\ntulip\n")
    item = {"scenario": "1-1", "method": "dkd"}
    line = refused(load, {"runs": [{**item, "dataset": name}], "data": {"root": "images"}})
    assert "runs[0].dataset: expected a name " in line and ", got " in line
    for suitable in ("garden", "2012", "A.b_c-d", "x" * 5 + "yz" * 19 + "v1", "x." * 9):
        [run] = load({"runs": [{**item, "dataset": suitable}], "data": {"root": "images"}}).runs
        assert run.dataset == suitable


@pytest.mark.parametrize("name", ["..", ".x", "-x", "+x", "", "a/b", "x" * 121, 3, True, "é"])
def test_names_of_runs_are_parts_of_paths(load, refused, name):
    assert "runs[0].name: expected a name of at most 120" in refused(load, {"runs": [{**RUN, "name": name}]})
    assert load({"runs": [{**RUN, "name": "x" * 120}]}).runs[0].name == "x" * 120


def test_formats_and_settings_are_those_of_the_science():
    assert set(schema.Data.model_fields["format"].annotation.__args__) == {"shapes", *catalog.PARTS}
    assert schema.Setting.__args__ == tasks.SETTINGS
