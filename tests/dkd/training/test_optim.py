"""The learning rates of all parts, and their schedule."""

import pytest

from dkd.errors import InputError
from dkd.methods import PARTS
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


def facts_of(recipe, head="sigmoid"):
    """Rate and weight decay by the name of a parameter in a step after the base; a frozen one has none."""
    model = Segmenter({**SPEC, "head": head}, [2])
    model.add_head(1, "random")
    optimizer, _ = build_optimizer(model, recipe._replace(lr=0.1, weight_decay=0.5, head_lr=10.0), 10)
    groups = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert all((id(p) in groups) == p.requires_grad for p in model.parameters())
    return {name: groups.get(id(p)) for name, p in model.named_parameters()}


PROBES = ("backbone.conv1.0.weight", "last_conv.0.weight", "heads.0.bias", "heads.1.bias", "last_conv.1.weight")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(0.1, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 0.5), None]),
        ({"rates": {"new": 20.0}}, [(0.1, 0.5), (1.0, 0.5), (1.0, 0.5), (2.0, 0.5), None]),
        ({"rates": {"backbone": 0.0, "decoder": 0.0, "new": 5.0}}, [None, None, (1.0, 0.5), (0.5, 0.5), None]),
        ({"rates": dict.fromkeys(PARTS, 1.0), "train_norms": True}, [(0.1, 0.5)] * 5),
        ({"rates": {"decoder": 0.0}, "train_norms": True}, [(0.1, 0.5), None, (1.0, 0.5), (1.0, 0.5), None]),
    ],
)
def test_parts_learn_at_rates_of_their_own(changes, expected):
    found = facts_of(RECIPE._replace(**changes))
    assert [found[name] for name in PROBES] == expected and found["auxiliary.bias"] == expected[2]


def test_the_unknown_learns_as_new_classes_and_background_as_old_ones():
    found = facts_of(RECIPE._replace(rates={"old": 0.0, "new": 20.0}), "unknown")
    assert found["unknown.bias"] == found["heads.1.bias"] == (2.0, 0.5)
    assert found["background.bias"] is found["heads.0.bias"] is None


def test_that_nothing_learns_is_one_line():
    with pytest.raises(InputError, match=r"^methods: lr_backbone, .* are all 0; let a part learn$"):
        facts_of(RECIPE._replace(rates=dict.fromkeys(PARTS, 0.0)))
