"""Forgetting, means over runs and paired differences, on numbers that can be checked by hand."""

import numpy as np
import pytest

from dkd.report import statistics

HEAD = {"dataset": "x", "scenario": "2-1", "setting": "overlap"}


def rows(method, values, step=1):
    return [{**HEAD, "method": method, "step": step, "pair": pair, "all": value} for pair, value in values.items()]


KD, DKD = {"s0": 50.0, "s1": 60.0, "s2": 40.0}, {"s0": 53.0, "s1": 61.0, "s2": 42.0, "s3": 99.0}


def test_groups_are_over_seeds_and_orders():
    found = statistics.groups(rows("kd", KD) + rows("kd", {"s0": 70.0}, step=0) + rows("dkd", DKD), ["all"])
    assert found[0] == {**HEAD, "method": "kd", "step": 1, "metric": "all", "mean": 50, "sd": 10, "n": 3}
    assert found[1] == {**HEAD, "method": "kd", "step": 0, "metric": "all", "mean": 70, "sd": None, "n": 1}
    assert [row["n"] for row in found] == [3, 1, 4]


def test_differences_are_of_pairs():
    """The run without a partner (99) is left out: 3, 1 and 2 points, whatever the spread over seeds."""
    [found] = statistics.differences(rows("kd", KD) + rows("dkd", DKD), ["all"])
    assert (found["method"], found["than"], found["mean"], found["n"]) == ("dkd", "kd", 2, 3)
    assert 1 <= found["low"] < 2 < found["high"] <= 3
    assert found["low"] == pytest.approx(1.0) and found["high"] == pytest.approx(3.0), "27 resamples have no finer tail"


def test_other_scenarios_are_not_compared():
    other = [{**row, "scenario": "1-1"} for row in rows("dkd", DKD)]
    assert statistics.differences(rows("kd", KD) + other, ["all"]) == []


def test_joint_training_is_compared_with_the_last_step():
    kd = [{**row, "step": step, "all": row["all"] + 10 * step} for step in (0, 1, 2) for row in rows("kd", KD)]
    found = statistics.differences(kd + rows("joint", KD, step=0), ["all"])
    assert [(row["method"], row["than"], row["step"], row["mean"]) for row in found] == [("joint", "kd", 2, -20.0)]


def test_one_pair_has_no_interval_and_none_no_row():
    [found] = statistics.differences(rows("kd", {"s0": 1.0}) + rows("dkd", {"s0": 3.0}), ["all"])
    assert (found["mean"], found["low"], found["high"], found["n"]) == (2, None, None, 1)
    assert statistics.differences(rows("kd", {"s0": None}) + rows("dkd", {"s0": 3.0}), ["all"]) == []
    assert statistics.spread([None, 2.0]) == {"mean": 2.0, "sd": None, "n": 1}


def test_the_interval_covers_as_it_should():
    """Of many samples of 30 normal differences, about 95 in 100 intervals hold the true mean."""
    draw = np.random.default_rng(1)
    held = [low <= 1.0 <= high for low, high in (statistics.interval(draw.normal(1, 2, 30)) for _ in range(300))]
    assert 0.89 < np.mean(held) < 0.98
    sample = draw.normal(1, 2, 30)
    assert statistics.interval(sample) == statistics.interval(sample)


def test_forgetting_is_the_best_earlier_iou_minus_the_last():
    steps = [
        {"background": 9.0, "a": 80.0, "b": 50.0, "d": None},
        {"background": 9.0, "a": 60.0, "b": 70.0, "d": None, "c": 40.0},
        {"background": 1.0, "a": 50.0, "b": 60.0, "d": 9.0, "c": 50.0, "e": 9.0},
    ]
    assert statistics.forgetting(steps) == {"a": 30, "b": 10, "c": -10}
    assert statistics.forgetting(steps[:1]) == {}
