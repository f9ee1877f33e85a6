"""The learning rate schedule."""

import pytest

from dkd.model.segmenter import Segmenter
from dkd.training.optim import build_optimizer
from tests.dkd.conftest import RECIPE, SPEC


def test_warm_up_rises_before_the_decay():
    recipe = RECIPE._replace(warmup=0.2, lr=0.01)
    optimizer, schedule = build_optimizer(Segmenter(SPEC, [2]), recipe, 10)
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    expected = [0.001, 0.5005, *((1 - i / 8) ** 0.9 for i in range(8))]
    assert rates == pytest.approx([0.01 * factor for factor in expected])
