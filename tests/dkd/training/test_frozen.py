"""A backbone that is kept unchanged: in later steps alone, and computed once for the network and its teacher."""

import copy

import pytest
import torch

from dkd import checkpoint
from dkd.methods import dkd, ilt, mib, plop
from dkd.training import loop
from tests.dkd.conftest import LATER, SPEC, train_base, train_step
from tests.dkd.training.conftest import recipe_of, same, tensors

FROZEN = LATER._replace(frozen=True)


def backbone(weights):
    return {name: value for name, value in weights.items() if name.startswith("backbone.")}


def test_it_may_be_trained_at_the_base_and_kept_later(prepared, base, tmp_path):
    train_step(prepared, tmp_path / "s1", base.folder, dkd, recipe=FROZEN)
    train_step(prepared, tmp_path / "s2", tmp_path / "s1", dkd, step=2)
    before, *later = base.tensors, tensors(tmp_path / "s1"), tensors(tmp_path / "s2")
    assert all(same(backbone(before), backbone(after)) for after in later), "step 2 is as the step before it"
    assert not torch.equal(before["last_conv.0.weight"], later[0]["last_conv.0.weight"])
    assert checkpoint.load(tmp_path / "s2", "cpu")[1].model["frozen"] is True


def test_it_may_be_kept_at_the_base_and_trained_later(prepared, tmp_path):
    train_base(prepared, tmp_path / "s0", network={**SPEC, "frozen": True})
    train_step(prepared, tmp_path / "s1", tmp_path / "s0", dkd, recipe=LATER._replace(frozen=False))
    assert not same(backbone(tensors(tmp_path / "s0")), backbone(tensors(tmp_path / "s1")))


@pytest.mark.parametrize(
    ("method", "passes"), [(dkd, 1), (ilt, 1), (mib, 1), (plop, 2)], ids=["dkd", "ilt", "mib", "plop"]
)
def test_one_pass_serves_both_networks_and_changes_no_bit(
    prepared, base, soft_base, tmp_path, monkeypatch, method, passes
):
    """`plop` reads the stages of each network, and so has a pass of each."""
    previous, recipe = (base if method is dkd else soft_base).folder, recipe_of(method, frozen=True)
    build, calls = loop.build_networks, []

    def counted(*given):
        student, teacher = build(*given)
        for module in {student.backbone, teacher.backbone}:
            module.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
        return student, teacher

    def apart(*given):
        student, teacher = build(*given)
        if method is not plop:
            teacher.backbone = copy.deepcopy(teacher.backbone)
        return student, teacher

    monkeypatch.setattr(loop, "build_networks", counted)
    cost = train_step(prepared, tmp_path / "once", previous, method, recipe=recipe)
    prepared_passes = cost["iterations"] // recipe.epochs if method is plop else 0
    assert len(calls) == passes * cost["iterations"] + prepared_passes
    monkeypatch.setattr(loop, "build_networks", apart)
    train_step(prepared, tmp_path / "twice", previous, method, recipe=recipe)
    assert same(tensors(tmp_path / "once"), tensors(tmp_path / "twice"))
