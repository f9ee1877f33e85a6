"""Counts and means, on examples small enough to check by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dkd import metrics

NAMES = ["background", "a", "b"]


def test_confusion_leaves_void_out():
    truth = np.array([[0, 1, 2], [2, 255, 1]])
    prediction = np.array([[0, 1, 1], [2, 2, 0]])
    assert metrics.confusion(truth, prediction, 3).tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]


@given(arrays.arrays(np.uint8, (2, 5, 5), elements=st.integers(0, 3)))
def test_iou_is_intersection_over_union(maps):
    truth, prediction = maps
    found = metrics.iou(metrics.confusion(truth, prediction, 4), "leave_out")
    for k in range(4):
        union = ((truth == k) | (prediction == k)).sum()
        expected = 100 * ((truth == k) & (prediction == k)).sum() / union if union else None
        assert found[k] == (pytest.approx(expected) if union else None)


def test_means_by_group():
    counts = np.array([[8, 2, 0], [0, 5, 0], [0, 5, 0]])
    found = metrics.summary(counts, NAMES, base=1, count_background=True, absent="leave_out")
    background, a, b = 80.0, 100 * 5 / 12, 0.0
    assert found["per_class"] == {"background": background, "a": pytest.approx(a), "b": b}
    assert found["base"] == pytest.approx((background + a) / 2) and found["new"] == b
    assert found["all"] == pytest.approx((background + a + b) / 3)
    assert found["harmonic"] == 0 and found["pixel_accuracy"] == 65
    without = metrics.summary(counts, NAMES, base=1, count_background=False, absent="leave_out")
    assert without["base"] == pytest.approx(a) and without["all"] == pytest.approx(a / 2)


def test_what_does_not_occur_is_null_and_in_no_mean():
    counts = np.zeros((3, 3), dtype=np.int64)
    counts[0, 0] = counts[1, 1] = 4
    found = metrics.summary(counts, NAMES, base=1, count_background=True, absent="leave_out")
    assert found["per_class"]["b"] is None and found["new"] is None and found["harmonic"] is None
    assert found["all"] == found["base"] == 100


def test_the_released_convention_counts_absent_classes_as_zero():
    """Two classes at 100 and one that never occurs: the mean is 100 here and 200 / 3 there."""
    counts = np.diag([4, 4, 0])
    ours = metrics.summary(counts, NAMES, base=1, count_background=True, absent="leave_out")
    theirs = metrics.summary(counts, NAMES, base=1, count_background=True, absent="zero")
    assert ours["all"] == 100 and theirs["all"] == pytest.approx(200 / 3)
    assert theirs["new"] == theirs["harmonic"] == theirs["per_class"]["b"] == 0
    hits = np.diag(counts)
    released = 100 * hits / (counts.sum(0) + counts.sum(1) - hits + 1e-6)
    assert list(theirs["per_class"].values()) == pytest.approx(list(released), abs=1e-4)


def test_means_without_background():
    counts = np.array([[8, 2, 0], [0, 5, 0], [0, 5, 0]])
    found = metrics.summary(counts, NAMES, base=1, count_background=True, absent="leave_out")["foreground"]
    plain = metrics.summary(counts, NAMES, base=1, count_background=False, absent="leave_out")
    assert found == {key: plain[key] for key in ("all", "base", "new", "harmonic")}


def test_all_is_the_mean_over_classes_not_over_groups():
    """As in the published arithmetic of ADE20K 100-50: (101 x base + 50 x new) / 151."""
    counts = np.random.RandomState(0).randint(1, 9, (151, 151)) + np.diag([900] * 101 + [300] * 50)
    found = metrics.summary(counts, [str(k) for k in range(151)], base=100, count_background=True, absent="leave_out")
    assert found["all"] == pytest.approx((101 * found["base"] + 50 * found["new"]) / 151)
    assert abs(found["all"] - (found["base"] + found["new"]) / 2) > 1
