"""Best values, differences to a baseline, and params that differ."""

import pytest

from dkd.report import comparison
from dkd.report.gather import Run, Step


def row(method, than, metric, mean, ends=(None, None), step=2, n=3):
    names = {"dataset": "shapes", "scenario": "4-1", "setting": "overlap", "method": method, "than": than}
    return {**names, "step": step, "metric": metric, "mean": mean, "low": ends[0], "high": ends[1], "n": n}


def test_every_method_can_be_the_baseline():
    rows = [
        row("kd", "finetune", "all", 9.0, (8.0, 10.0), step=1),
        row("kd", "finetune", "all", 18.0, (-1.0, 20.0)),
        row("kd", "finetune", "forgetting", -20.0, (-27.0, -11.0)),
        row("kd", "finetune", "pixel_accuracy", 5.0, (4.0, 6.0)),
        row("dkd", "kd", "all", -0.5),
    ]
    found = comparison.against(rows)["shapes 4-1 overlap"]
    assert list(found) == ["finetune", "kd", "dkd"]
    [over] = found["finetune"]
    assert (over["method"], over["pairs"]) == ("kd", 3)
    assert over["values"] == {
        "all": {"mean": 18.0, "low": -1.0, "high": 20.0, "nonzero": False},
        "forgetting": {"mean": -20.0, "low": -27.0, "high": -11.0, "nonzero": True},
    }
    under = next(each for each in found["kd"] if each["method"] == "finetune")
    assert under["values"]["forgetting"] == {"mean": 20.0, "low": 11.0, "high": 27.0, "nonzero": True}
    assert found["dkd"][0]["values"]["all"] == {"mean": 0.5, "low": None, "high": None, "nonzero": False}


def group(name, **means):
    return {"name": name, "values": {metric: {"mean": means.get(metric)} for metric in comparison.METRICS}}


def test_the_best_of_each_metric():
    groups = [
        group("a", all=50.0, base=60.0, forgetting=3.0),
        group("b", all=50.01, base=60.0, forgetting=2.0, new=1.0),
        group("c", all=49.0, base=60.0, forgetting=9.0),
    ]
    assert comparison.best(groups) == {("a", "all"), ("b", "all"), ("b", "forgetting")}
    assert comparison.best(groups[:1]) == set(), "a single group is not the best of several"


def run(method, seed, **params):
    def step(number):
        record = {"params": {"seed": seed, "step": number, "recipe": {"lr": 0.1 / (number + 1)}, **params}}
        return Step(number, None, None, [], [], None, {"train": record})

    return Run(f"{method}{seed}", "shapes", "overlap", method, seed, (4, 1), "paper", (step(0), step(1)))


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_params_that_differ_between_methods(seeds):
    runs = [run("kd", seed, weights={"kd": 5.0}, start="random") for seed in seeds]
    runs += [run("dkd", seed, weights={"kd": 5.0, "ac": 1.0}, start="auxiliary") for seed in seeds]
    found = comparison.differing(runs)
    assert found == {
        f"{phase}{key}": values
        for phase in ("base: ", "")
        for key, values in {
            "start": {"kd": '"random"', "dkd": '"auxiliary"'},
            "weights.ac": {"kd": "-", "dkd": "1.0"},
        }.items()
    }, "neither seeds, nor steps, nor what is the same"
