"""The tables between the four numberings, as docs/classes.md shows them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkd.data import classes
from dkd.data.tasks import visible_labels

PAGE = Path(__file__).parents[3] / "docs" / "classes.md"
ORDER, SIZES, NAMES = (3, 1, 2), (2, 1), ("background", "cat", "dog", "bird")


def table(first_column: str) -> dict[str, tuple[str, ...]]:
    """Columns of the page's table that begins with this heading."""
    lines = PAGE.read_text().split(f"| {first_column} |", 1)[1].split("\n\n")[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines)
    return dict(zip([first_column, *head], zip(*rows, strict=True), strict=True))


def test_the_page_shows_what_the_module_computes():
    value, masks = "stored value", "stored value, in a mask for"
    values = np.array([0, 1, 2, 3, 255])
    labels = classes.value_to_label({})[values]
    ids = classes.label_to_id(ORDER, ORDER, rest=0)[labels]
    names = dict(enumerate(classes.names_by_id(ORDER, NAMES))) | {classes.VOID: "void"}
    channels = [classes.id_to_channel(id) if 0 < id < classes.VOID else "–" for id in ids.tolist()]
    expected = {value: values, "label": labels, "class": [names[id] for id in ids], "id": ids, "channel": channels}
    assert table(value) == {name: tuple(map(str, column)) for name, column in expected.items()}

    base = ORDER[: SIZES[0]]

    def ids_in(order: tuple, visible: tuple, rest: int) -> np.ndarray:
        return classes.value_to_id({}, order, visible, rest)[values]

    expected = {
        masks: values,
        "training, step 0": ids_in(base, visible_labels("overlap", base, SIZES[:1]), 0),
        "training, step 1": ids_in(ORDER, visible_labels("overlap", ORDER, SIZES), 0),
        "training, step 1, `sequential`": ids_in(ORDER, visible_labels("sequential", ORDER, SIZES), 0),
        "evaluation of step 0, `unseen: background`": ids_in(base, base, 0),
        "evaluation of step 0, `unseen: ignore`": ids_in(base, base, classes.VOID),
    }
    assert table(masks) == {name: tuple(map(str, column)) for name, column in expected.items()}


def test_stored_values_that_are_no_labels():
    """As in Cityscapes, whose masks count the classes from 0."""
    stored = {0: 1, 1: 2, 2: 3}
    assert classes.value_to_label(stored)[[0, 1, 2, 255]].tolist() == [1, 2, 3, 255]
    assert classes.value_to_id(stored, ORDER, (2, 3), 0)[[0, 1, 2, 255]].tolist() == [0, 3, 1, 255]
    assert classes.value_to_visible_label(stored, (2, 3))[[0, 1, 2, 3, 255]].tolist() == [0, 2, 3, 3, 255]
    assert classes.known_values(stored, 4) == classes.known_values({}, 3) == {0, 1, 2, 255}


@given(st.permutations(range(1, 9)), st.integers(1, 8))
def test_ids_are_positions_in_the_order(order, learned):
    known = order[:learned]
    ids = classes.label_to_id(known, known, rest=0)
    assert ids[known].tolist() == list(classes.ids_of(known, known)) == list(range(1, learned + 1))
    assert ids[0] == 0 and ids[255] == 255 and np.count_nonzero(ids) == learned + 1
    assert classes.id_to_label(known)[ids[known]].tolist() == known


@pytest.mark.parametrize("channel", [0, np.arange(3)])
def test_channels_begin_at_the_first_id(channel):
    assert np.array_equal(classes.id_to_channel(classes.channel_to_id(channel)), channel)
    assert np.array_equal(classes.channel_to_id(channel), channel + 1)
