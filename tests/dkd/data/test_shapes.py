"""The embedded data set follows from its seed and shows what its classes differ in."""

import numpy as np

from dkd.data import shapes
from tests.dkd.conftest import build_index


def test_shapes_follow_from_the_seed(tmp_path):
    options = {"size": 32, "train": 3, "val": 2, "objects": (3, 5)}
    shapes.draw(tmp_path / "a", seed=1, **options)
    shapes.draw(tmp_path / "b", seed=1, **(options | {"train": 5}))
    shapes.draw(tmp_path / "c", seed=2, **options)
    name = "images/train_00002.png"
    same, other = ((tmp_path / x / name).read_bytes() for x in "bc")
    assert (tmp_path / "a" / name).read_bytes() == same != other


def test_shapes_show_every_class_and_mix_them(drawn):
    table = build_index(drawn)
    shown = [set(row.classes) for row in table.rows]
    assert set().union(*shown) == set(range(1, 7))
    assert np.mean([len(classes) for classes in shown]) > 2
    assert {row.split for row in table.rows} == {"train", "val"}


def test_every_texture_shows_both_colours():
    for label in range(1, len(shapes.SHAPES)):
        texture = shapes._texture(label, 64, np.array([32.0, 32.0]), 14.0, 0.3)
        inside = shapes._outline(label, 64, np.array([32.0, 32.0]), 14.0, 0.3)
        assert inside.sum() > 100 and 0.1 < texture[inside].mean() < 0.9
