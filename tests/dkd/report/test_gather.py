"""What nodes wrote is read, and what is missing is listed."""

import shutil

import pytest

from dkd.report.gather import gather


@pytest.mark.parametrize("kept", ["all", "metrics", "all but tables", "one step", "nothing"])
def test_what_is_missing_is_listed(inputs, kept):
    runs, found = inputs
    some = {
        "all": found,
        "metrics": {name: path for name, path in found.items() if name.count("/") == 1},
        "all but tables": {name: path for name, path in found.items() if name != "summary"},
        "one step": {name: path for name, path in found.items() if "/0" in name},
        "nothing": {},
    }[kept]
    read = gather(runs, some, {})
    assert len(read.missing) == len(found) - len(some)
    assert (read.groups is None) == ("summary" not in some)
    for run in read.runs:
        for step in run.steps:
            key = f"{run.name}/{step.number}"
            assert (step.metrics is not None, step.counts is not None) == (key in some, key in some)
            assert bool(step.training) == bool(step.curve) == (f"{key}/checkpoint" in some)
            assert (step.samples is not None) == (f"{key}/panels" in some)


def test_failures_come_first_with_their_reasons(inputs):
    runs, found = inputs
    name = f"{runs[1]['name']}/1/checkpoint"
    some = {each: path for each, path in found.items() if each not in (name, f"{runs[0]['name']}/0")}
    read = gather(runs, some, {name: "out of memory", f"{runs[0]['name']}/1": "an old failure of a node made since"})
    assert read.missing == [
        f"{runs[1]['name']}, step 1: training failed: out of memory",
        f"{runs[0]['name']}, step 0: metrics",
    ]
    assert read.failed == {runs[1]["name"]: "step 1: training: out of memory"}


def test_a_training_of_an_earlier_version_has_no_curve(inputs, tmp_path):
    runs, found = inputs
    key = f"{runs[0]['name']}/0/checkpoint"
    shutil.copytree(found[key], tmp_path / "earlier", ignore=shutil.ignore_patterns("loss.csv"))
    [run, _] = gather(runs, {**found, key: tmp_path / "earlier"}, {}).runs
    assert run.steps[0].training and not run.steps[0].curve and run.steps[1].curve


def test_classes_are_learned_at_their_step(inputs):
    [run, _] = gather(*inputs, {}).runs
    at = {"background": 0, "disc": 0, "square": 0, "triangle": 0, "cross": 0, "ring": 1, "star": 1}
    assert run.learned_at == at
    assert run.benchmark == "shapes 4-2 overlap" and run.group == "shapes_4-2_overlap_dkd"
    assert [run._replace(method=name).place(run.steps[0]) for name in ("dkd", "joint", "joint[lr=1]")] == [0, 1, 1]
