"""The four numberings of a class, and the only place that turns one into another.

    stored value ──value_to_label──▶ label ──label_to_id──▶ id ──id_to_channel──▶ channel
    in a mask file                   in the data set        in the order of       of the logits
    0..255                           0..C                   learning, 0..K        0..K-1
                                       ◀────id_to_label────  ◀───channel_to_id───

    label 0, id 0   background: no class; it has no channel
    VOID (255)      no annotation, in masks, labels and ids alike

A data set has C classes; a network that has learned K of them knows the labels `order`, K labels in the order of
learning: the class of label `order[k]` has id k + 1 and channel k. Knows nothing of files, steps or settings.
docs/classes.md has an example and says where a user sees which number.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

VOID = 255
VOID_COLOUR = (224, 224, 192)
"""VOC's, in masks in colours."""
MAX_CLASSES = VOID - 1
"""A mask has 8 bits; 0 is background and 255 is void."""


class Encoding(NamedTuple):
    """How the masks of a data set store labels."""

    values: frozenset[int]
    """Values that a mask may hold, 0..255."""
    colours: dict[int, int]
    """Value of each colour 0xRRGGBB, for masks in colours; empty where masks hold the values themselves."""


def value_to_label(stored: Mapping[int, int]) -> np.ndarray:
    """(256,) uint8: label of each stored value; values that `stored` does not list are labels themselves."""
    table = np.arange(256, dtype=np.uint8)
    table[list(stored)] = list(stored.values())
    return table


def known_values(stored: Mapping[int, int], labels: int) -> set[int]:
    """Values that a mask may hold: background, void, and those of `stored`; 0..labels-1 where it lists none."""
    return {0, VOID, *(stored or range(labels))}


def labels_of(stored: Mapping[int, int], classes: int) -> list[int]:
    """Labels, ascending, that masks can show: those of `stored`, or all of 1..`classes` where it lists none."""
    return sorted({*stored.values()} - {0, VOID}) if stored else list(range(1, classes + 1))


def keep_labels(stored: Mapping[int, int], classes: int, kept: Collection[int], rest: int) -> dict[int, int]:
    """`stored` with `rest` in place of every label that is not among `kept`; unchanged where none is left out."""
    if set(labels_of(stored, classes)) <= set(kept):
        return dict(stored)
    full = stored or {label: label for label in range(1, classes + 1)}
    return {value: label if label in kept or label in (0, VOID) else rest for value, label in full.items()}


def label_to_id(order: Sequence[int], visible: Collection[int], rest: int) -> np.ndarray:
    """(256,) uint8: id of each label of `visible`; every other label becomes `rest`, background and void stay."""
    table = np.full(256, rest, dtype=np.uint8)
    table[0], table[VOID] = 0, VOID
    for label in visible:
        table[label] = order.index(label) + 1
    return table


def value_to_id(stored: Mapping[int, int], order: Sequence[int], visible: Collection[int], rest: int) -> np.ndarray:
    """(256,) uint8: id of each stored value (`value_to_label`, then `label_to_id`)."""
    return label_to_id(order, visible, rest)[value_to_label(stored)]


def value_to_visible_label(stored: Mapping[int, int], visible: Collection[int]) -> np.ndarray:
    """(256,) uint8: label of each stored value where that is in `visible`, or void; otherwise 0."""
    labels = value_to_label(stored)
    return np.where(np.isin(labels, [*visible, VOID]), labels, 0).astype(np.uint8)


def id_to_label(order: Sequence[int]) -> np.ndarray:
    """(K+1,) uint8: label of each id 0..K."""
    return np.array([0, *order], dtype=np.uint8)


def ids_of(order: Sequence[int], labels: Sequence[int]) -> tuple[int, ...]:
    """Ids of `labels`, all of which are in `order`."""
    return tuple(order.index(label) + 1 for label in labels)


def names_by_id(order: Sequence[int], class_names: Sequence[str]) -> list[str]:
    """Class name of each id 0..K; `class_names` are those of all labels, background first."""
    return [class_names[label] for label in (0, *order)]


def id_to_channel(id: Any) -> Any:
    """Channel of an id 1..K; a number, an array or a tensor."""
    return id - 1


def channel_to_id(channel: Any) -> Any:
    """Id of a channel 0..K-1; a number, an array or a tensor."""
    return channel + 1
