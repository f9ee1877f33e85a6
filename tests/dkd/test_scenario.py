"""Steps, orders and label tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize("plan", ["15-2", "21-1", "0-5", "15-0", "15", "a-b", [15, 1], [], [15, 0, 5], [25, -5]])
def test_a_scenario_that_does_not_fit_is_refused(plan):
    with pytest.raises(InputError):
        scenario.step_sizes(plan, 20)


def test_names():
    assert [scenario.name(sizes) for sizes in [(15, 1, 1), (15, 5), (7, 1, 2), (20,)]] == [
        "15-1",
        "15-5",
        "7+1+2",
        "20",
    ]


@given(st.permutations(range(1, 9)), st.integers(1, 8))
def test_ids_are_positions_in_the_order(order, learned):
    table = scenario.id_table(order[:learned], order[:learned])
    assert [table[label] for label in order[:learned]] == list(range(1, learned + 1))
    assert table[0] == 0 and table[255] == 255
    assert not table[[label for label in range(1, 255) if label not in order[:learned]]].any()


def test_only_the_steps_own_classes_are_visible():
    table = scenario.id_table((5, 3, 1), (1,))
    assert table[np.array([0, 1, 2, 3, 5, 255])].tolist() == [0, 3, 0, 0, 0, 255]
    assert scenario.id_table((5, 3), (5, 3), rest=255)[[0, 1, 3, 5]].tolist() == [0, 255, 2, 1]


@pytest.mark.parametrize("order", [[1, 2], [1, 2, 2], [0, 1, 2], [1, 2, 4]])
def test_an_order_that_is_no_permutation_is_refused(order):
    with pytest.raises(InputError, match=r"each label 1\.\.3 once"):
        scenario.check_order(order, 3)
