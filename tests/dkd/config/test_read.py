"""Which layer a value comes from, what presets and shipped params hold, and settings of the command line."""

import errno
import os
from pathlib import Path

import pytest
import yaml

from dkd.config import base, read, yaml_file
from dkd.training.recipe import of_step

from .conftest import RUN

ROOT = Path(__file__).parents[3]


def test_the_shipped_params_are_the_three_methods_on_one_base():
    found = read.load(ROOT / "params.yaml")
    assert [run.name for run in found.runs] == [f"shapes_4-1_overlap_{m}_s0" for m in ("finetune", "kd", "dkd")]
    assert {run.sizes for run in found.runs} == {(4, 1, 1)}
    assert len({run.model_dump_json(include={"model", "train", "base", "seed"}) for run in found.runs}) == 1


@pytest.mark.parametrize("name", list(read.presets()))
def test_every_preset_is_read(name):
    sections = read.recipe(name, [])
    for section, values in yaml_file.read_yaml(read.presets()[name]).items():
        dumped = sections[section].model_dump(mode="json")
        assert base.merge(dumped, values) == dumped, "every value of the preset is in the result"


def test_defaults_below_preset_below_top_below_set(load):
    preset = read.recipe("shapes", [])
    runs = [RUN, {**RUN, "seed": 1, "set": {"base": {"lr": 0.5}, "data": {"shapes": {"train": 9}}}}]
    first, second = load({"runs": runs, "base": {"lr": 0.25, "pos_weight": 3.0}}).runs
    assert (first.base.lr, first.base.pos_weight) == (0.25, 3.0)
    assert (second.base.lr, second.base.pos_weight) == (0.5, 3.0)
    assert first.model == preset["model"] and second.data.shapes.train == 9
    assert second.data.shapes.size == preset["data"].shapes.size


def test_merge_keys_and_anchors(load):
    text = (
        "base: &b {epochs: 010, lr: 1e-3}\nincrement: {<<: *b, epochs: 3}\nruns:\n"
        "  - &run {dataset: shapes, scenario: 4-1, method: kd, set: {train: {power: 9.0E-1}}}\n"
        "  - {<<: *run, seed: 1}\n"
    )
    first, second = load(text).runs
    assert (first.base.epochs, first.base.lr) == (10, 0.001)
    assert (first.increment.epochs, first.increment.lr) == (3, 0.001)
    assert (first.train.power, second.train.power, second.seed) == (0.9, 0.9, 1)


def test_a_data_set_in_data_raw_needs_no_root(tmp_path, load):
    root = tmp_path / "data" / "raw" / "garden"
    root.mkdir(parents=True)
    (root / "classes.txt").write_text("none\nrose\ntulip\n")
    [run] = load({"runs": [{"dataset": "garden", "scenario": "1-1", "method": "dkd"}]}).runs
    assert run.data.root == str(root) and run.sizes == (1, 1)


def test_cityscapes_is_read_as_it_was_fetched(tmp_path, load):
    (tmp_path / "data" / "raw" / "cityscapes").mkdir(parents=True)
    [run] = load({"runs": [{"dataset": "cityscapes", "scenario": "10-9", "method": "dkd"}]}).runs
    assert run.data.format == "cityscapes" and run.sizes == (10, 9)
    camvid = read.recipe("camvid", [])["evaluate"]
    for key in ("protocol", "unseen", "count_background"):
        assert getattr(run.evaluate, key) == getattr(camvid, key), "neither has pixels of background"
    voc = read.recipe("voc2012", [])
    assert all(getattr(run, key) == voc[key] for key in ("model", "train", "base", "increment", "methods"))


def test_options_of_the_published_method(load):
    """The defaults are as released; the paper's ablation in docs/protocol.md is one list of runs."""
    [run] = load({"runs": [RUN]}).runs
    released = {"start": "auxiliary", "kd": 5, "dkd": 5, "ac": 1, "decomposition": "weight", "resolution": "grid"}
    assert run.methods.dkd.model_dump() == released
    assert (run.methods.finetune.start, run.methods.kd.start, run.train.void) == ("random", "random", "negative")
    text = (ROOT / "docs" / "protocol.md").read_text()
    block = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    for item in block["runs"]:
        item |= {"dataset": "shapes", "scenario": "4-1"}
    runs = load(block).runs
    assert [run.name for run in runs] == ["mbce-kd", "with-dkd", "with-ac", "both"]
    shown = [(run.methods.dkd.dkd, run.methods.dkd.ac, run.methods.dkd.start) for run in runs]
    assert shown == [(0, 0, "random"), (5, 0, "random"), (0, 1, "auxiliary"), (5, 1, "auxiliary")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ": runs: expected a list with at least one run"),
        ({"runs": []}, ": runs: expected a list with at least one run"),
        ({"runz": [RUN]}, ": runz: unknown key; did you mean 'runs'?"),
        ({"runs": [{**RUN, "set": {"bas": {}}}]}, ": runs[0].set.bas: unknown key; did you mean 'base'?"),
        ({"runs": [{**RUN, "method": "kkd"}]}, ": runs[0].method: unknown method 'kkd'; did you mean 'kd'?"),
        (
            {"runs": [{**RUN, "dataset": "shape"}]},
            ": runs[0].dataset: unknown data set 'shape'; did you mean 'shapes'?",
        ),
        ({"runs": [{**RUN, "dataset": "cityscapes"}]}, ": runs[0]: data set 'cityscapes' not found at "),
        ({"runs": [{**RUN, "dataset": "a"}], "data": {"root": "nowhere"}}, ": runs[0]: data set 'a' not found at "),
        ({"runs": [RUN], "data": {"format": "folder", "root": "n" * 300}}, ": runs[0]: data set 'shapes' not found at"),
        ({"runs": [RUN], "model": {"pretrained": "."}}, ": runs[0]: model.pretrained: no file of weights at "),
        ({"runs": [RUN], "model": {"pretrained": "n" * 300}}, ": runs[0]: model.pretrained: no file of weights at "),
    ],
)
def test_params_that_do_not_resolve_are_refused(tmp_path, load, refused, content, words):
    assert refused(load, content).startswith(f"{tmp_path / 'params.yaml'}{words}")


def test_a_place_that_may_not_be_read_is_not_told_as_missing(tmp_path, load, refused, monkeypatch):
    """For the superuser, who runs many tests, nothing is forbidden."""
    is_dir = Path.is_dir

    def forbidden(path):
        if path.name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", forbidden)
    line = refused(load, {"runs": [{**RUN, "dataset": "a"}], "data": {"root": "closed"}})
    assert line == f"{tmp_path / 'closed'}: Permission denied"


def test_settings_of_the_command_line_are_read_like_the_file(refused):
    sections = read.recipe("shapes", ["base.epochs=010", "base.lr=1e-3"])
    assert (sections["base"].epochs, sections["base"].lr) == (10, 0.001)
    for setting, words in (
        ("base.epochs=2026-11-25", "'2026-11-25' is a date in YAML"),
        ("base.epochs=[", "'[' is not a YAML value"),
        ("base.epochs=&x [*x]", "an alias inside the value"),
        (f"{'base.' * 2000}x=1", "...: expected section.key=value"),
        ("bas.lr=1", "bas: unknown section; did you mean 'base'?"),
        ("train.scale=[2, 1]", "train.scale: the smaller number must come first"),
    ):
        assert words in refused(read.recipe, "shapes", [setting])
    assert refused(read.recipe, "shape", []) == "unknown preset 'shape'; did you mean 'shapes'?"


def test_a_phase_can_have_values_of_train_of_its_own(load, refused):
    base = {"runs": [{"dataset": "shapes", "scenario": "4-1", "method": "dkd"}]}
    (run,) = load({**base, "train": {"batch": 16, "crop": 32}, "increment": {"batch": 4}, "base": {"crop": 48}}).runs
    base_recipe, later = (of_step(run.model_dump(), step) for step in (0, 1))
    assert (base_recipe["batch"], base_recipe["crop"]) == (16, 48) and (later["batch"], later["crop"]) == (4, 32)
    assert set(later) == set(base_recipe) and None not in later.values()
    line = refused(load, {**base, "increment": {"scale": [2, 0.5]}})
    assert line.endswith("increment.scale: the smaller number must come first, got [2, 0.5]")


def test_a_step_can_have_values_of_its_own(load):
    text = (
        "runs: [{dataset: shapes, scenario: 4-1, method: dkd, set: {increment: {steps: {2: {epochs: 5}}}}}]\n"
        "train: {batch: 16, crop: 32}\n"
        "increment: {epochs: 7, batch: 8, steps: {'1': {lr: 0.5}, 2: {epochs: 100, batch: 4, crop: , frozen: true}}}"
    )
    (run,) = load(text).runs
    for dumped in (run.model_dump(), run.model_dump(mode="json")):
        first, second = (of_step(dumped, step) for step in (1, 2))
        assert (first["epochs"], first["batch"], first["crop"], first["lr"]) == (7, 8, 32, 0.5)
        assert (second["epochs"], second["batch"], second["crop"], second["lr"]) == (
            5,
            4,
            32,
            dumped["increment"]["lr"],
        )
        assert set(first) == set(second) - {"frozen"} == set(of_step(dumped, 0)) and second["frozen"]
    increment = read.recipe("shapes", ["increment.steps.2.epochs=100", "increment.epochs=3"])["increment"]
    assert (increment.epochs, increment.steps["2"].epochs, increment.steps["2"].lr) == (3, 100, None)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"3": {"epochs": 9}}, "runs[0]: increment.steps.3: there is no step 3, the last is 2; remove it"),
        ({"0": {}}, 'increment.steps.0: expected the number of a step after the base: 1, 2, ..., got "0"'),
        ({"one": {}}, 'increment.steps.one: expected the number of a step after the base: 1, 2, ..., got "one"'),
        ({"01": {}}, 'increment.steps.01: expected the number of a step after the base: 1, 2, ..., got "01"'),
        ({"1": {"epoch": 9}}, "increment.steps.1.epoch: unknown key; did you mean 'epochs'?"),
        ({"1": {"steps": {}}}, "increment.steps.1.steps: unknown key; known: batch, "),
        ({"1": {"scale": [2, 0.5]}}, "increment.steps.1.scale: the smaller number must come first, got [2, 0.5]"),
        ({"1": None}, "increment.steps.1: expected a map of keys and values, got null"),
        ([{"epochs": 3}], 'increment.steps: expected a map of keys and values, got [{"epochs": 3}]'),
    ],
)
def test_values_of_a_step_that_do_not_fit_are_refused(tmp_path, load, refused, steps, words):
    line = refused(load, {"runs": [RUN], "increment": {"steps": steps}})
    assert line.startswith(f"{tmp_path / 'params.yaml'}: {words}")
    line = refused(load, {"runs": [{**RUN, "set": {"increment": {"steps": steps}}}]})
    assert line.startswith(f"{tmp_path / 'params.yaml'}: runs[0]") and words.removeprefix("runs[0]: ") in line
    joint = {**RUN, "method": "joint"}
    assert load({"runs": [joint], "increment": {"steps": {"3": {"epochs": 9}}}}), "it has no later steps at all"


def test_a_run_can_name_a_preset(tmp_path, load, refused):
    root = tmp_path / "data" / "raw" / "garden"
    root.mkdir(parents=True)
    (root / "classes.txt").write_text("none\nrose\ntulip\n")
    run = {"dataset": "garden", "scenario": "1-1", "method": "dkd"}
    small = load({"runs": [{**run, "preset": "small"}]}).runs[0]
    assert small.model == read.recipe("small", [])["model"] != load({"runs": [run]}).runs[0].model
    line = refused(load, {"runs": [{**run, "preset": "smal"}]})
    assert line.endswith("runs[0].preset: unknown preset 'smal'; did you mean 'small'?")


def test_a_backbone_may_be_frozen_after_the_base(load):
    run = load({"runs": [RUN], "increment": {"frozen": True}}).runs[0].model_dump()
    assert of_step(run, 1)["frozen"] is True and "frozen" not in of_step(run, 0)
    assert "frozen" not in of_step(load({"runs": [RUN]}).runs[0].model_dump(), 1), "no key of before changes"
