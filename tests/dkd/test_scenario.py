"""Steps and orders."""

import pytest

from dkd import scenario
from dkd.errors import InputError


@pytest.mark.parametrize(
    ("plan", "classes", "sizes"),
    [
        ("15-1", 20, (15, 1, 1, 1, 1, 1)),
        ("15-5", 20, (15, 5)),
        ("19-1", 20, (19, 1)),
        ("10-10", 20, (10, 10)),
        ("100-50", 150, (100, 50)),
        ("20-1", 20, (20,)),
        ([7, 1, 2], 10, (7, 1, 2)),
    ],
)
def test_step_sizes(plan, classes, sizes):
    assert scenario.step_sizes(plan, classes) == sizes
    steps = scenario.classes_of_steps(range(1, classes + 1), sizes)
    assert [len(step) for step in steps] == list(sizes) and sum(steps, ()) == tuple(range(1, classes + 1))


@pytest.mark.parametrize("plan", ["15-2", "21-1", "0-5", "15-0", "15", "a-b", [15, 1], [], [15, 0, 5], [25, -5]])
def test_a_scenario_that_does_not_fit_is_refused(plan):
    with pytest.raises(InputError, match="scenario"):
        scenario.step_sizes(plan, 20)


def test_names():
    names = {(15, 1, 1): "15-1", (15, 5): "15-5", (7, 1, 2): "7+1+2", (20,): "20"}
    assert {sizes: scenario.name(sizes) for sizes in names} == names


@pytest.mark.parametrize("order", [[], [1, 2, 2], [0, 1, 2], [1, 2, 4]])
def test_an_order_of_unknown_or_repeated_labels_is_refused(order):
    with pytest.raises(InputError, match=r"by their labels, 1\.\.3, each at most once"):
        scenario.check_order(order, [1, 2, 3])
    assert scenario.check_order([3, 1], [1, 2, 3]) == (3, 1)
