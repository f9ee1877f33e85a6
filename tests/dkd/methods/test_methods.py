"""The methods' losses against numbers of the released implementation, and against the textbook form."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dkd.losses import Target
from dkd.methods import dkd, finetune, joint, kd, method_name, module_name, sort_options
from dkd.model.segmenter import Output
from tests import plain

# Copied from the reference numbers, for machines without the reference data.
SHAPE = {"N": 2, "D": 16, "h": 24, "w": 24, "H": 48, "W": 48}
KNOWN = {
    "base": {
        "seed": 0,
        "classes": [3],
        "pos_weight": 2,
        "total": 3.972068341576811,
        "terms_sum": {"mbce": 3.1874990463256836, "ac": 0.7845692952511273},
        "grad_norms": {
            "feat": 0.06240218295751595,
            "cls0.weight": 0.1430597857377321,
            "cls1.weight": 0.3374486201813843,
            "cls0.bias": 0.4942816445357133,
            "cls1.bias": 0.4522453472591654,
        },
    },
    "increment": {
        "seed": 0,
        "classes": [3, 2, 1],
        "pos_weight": 2,
        "total": 66.8462833606263,
        "terms_sum": {
            "kd": 4.254055336462086,
            "dkd_pos": 4.3608891352515915,
            "dkd_neg": 4.3681599265969515,
            "mbce": 1.1461920738220215,
            "ac": 0.7845692952511273,
        },
        "grad_norms": {
            "feat": 0.4339673940175152,
            "cls0.weight": 0.1430597857377321,
            "cls1.weight": 4.330985791258373,
            "cls2.weight": 3.1495287486942716,
            "cls3.weight": 0.21456039133238586,
            "cls0.bias": 0.4942816445357133,
            "cls1.bias": 0.32229157557022453,
            "cls2.bias": 0.15876366379859952,
            "cls3.bias": 0.0013968552885379876,
        },
    },
}


def inputs(seed: int, classes: list[int], shape: dict) -> SimpleNamespace:
    """Features, classifiers and labels as the reference numbers were made from."""
    draw = np.random.RandomState(seed)
    n, d, h, w = (shape[key] for key in "NDhw")

    def tensor(x):
        return torch.from_numpy(x.astype(np.float32)).double()

    def heads(sizes):
        found = []
        for c in [1, *sizes]:
            weight = tensor(draw.randn(c, d) * 0.5)
            found.append((weight, tensor(draw.randn(c) * 0.1)))
        return found

    new = tensor(draw.randn(n, d, h, w)), heads(classes)
    old = (tensor(draw.randn(n, d, h, w)), heads(classes[:-1])) if len(classes) > 1 else None
    k, low = classes[-1], sum(classes[:-1]) + 1
    cells = draw.randint(0, k + 2, (n, 6, 6))
    cells = np.where(cells == 0, 0, np.where(cells == k + 1, 255, cells + low - 1))
    labels = torch.from_numpy(cells.repeat(8, 1).repeat(8, 2).astype(np.uint8))
    return SimpleNamespace(new=new, old=old, labels=labels, size=(shape["H"], shape["W"]))


def output(features, heads, size) -> Output:
    auxiliary, *steps = [
        torch.nn.functional.conv2d(features if i else features.detach(), weight[..., None, None], bias)
        for i, (weight, bias) in enumerate(heads)
    ]
    return Output(features, tuple(steps), auxiliary, tuple(weight for weight, _ in heads[1:]), size)


def check(case: dict, shape: dict):
    given = inputs(case["seed"], case["classes"], shape)
    features, heads = given.new
    leaves = {"feat": features}
    for i, (weight, bias) in enumerate(heads):
        leaves |= {f"cls{i}.weight": weight, f"cls{i}.bias": bias}
    for leaf in leaves.values():
        leaf.requires_grad_()
    student = output(features, heads, given.size)
    truth = Target(given.labels, sum(case["classes"][:-1]) + 1, case["pos_weight"], "negative", None)
    if given.old is None:
        total, terms = joint.loss(student, None, truth)
    else:
        teacher = output(*given.old, given.size)
        total, terms = dkd.loss(student, teacher, truth, **plain.OPTIONS)
    total.backward()
    # The reference computed mBCE in float32 on the way: 2e-7 of rounding is its own.
    assert {name: terms[name].item() for name in case["terms_sum"]} == pytest.approx(case["terms_sum"], rel=1e-6)
    assert total.item() == pytest.approx(case["total"], rel=1e-6)
    gradients = {name: leaf.grad.norm().item() for name, leaf in leaves.items()}
    assert gradients == pytest.approx(case["grad_norms"], rel=1e-6)


@pytest.mark.parametrize("name", KNOWN)
def test_losses_and_gradients_are_those_of_the_release(name):
    check(KNOWN[name], SHAPE)


@pytest.mark.shared
def test_every_golden_case(golden):
    content = golden("losses.json")
    assert len(content["cases"]) >= 6
    for case in content["cases"].values():
        check(case, content["shape"])


def test_methods_differ_in_their_terms_only():
    given = inputs(1, [3, 2], SHAPE)
    student, teacher = output(*given.new, given.size), output(*given.old, given.size)
    truth = Target(given.labels, 4, 2.0, "negative", None)
    _, tuned = finetune.loss(student, None, truth)
    _, distilled = kd.loss(student, teacher, truth, kd=5)
    total, decomposed = dkd.loss(student, teacher, truth, **plain.OPTIONS)
    assert set(tuned) == {"mbce"} and set(distilled) == {"mbce", "kd", "kd_kl"}
    soft = {"kd", "dkd_pos", "dkd_neg"}
    assert set(decomposed) == {"mbce", "ac", *soft, *(f"{name}_kl" for name in soft)}
    assert tuned["mbce"] == distilled["mbce"] == decomposed["mbce"] and distilled["kd"] == decomposed["kd"]
    alone, _ = dkd.loss(student, teacher, truth, **{**plain.OPTIONS, "kd": 0, "dkd": 0, "ac": 0})
    assert alone == tuned["mbce"] and total > alone


def test_the_objective_is_the_plain_one():
    given = inputs(4, [4, 2], SHAPE)
    leaves = [given.new[0], *(x for pair in given.new[1] for x in pair)]
    for leaf in leaves:
        leaf.requires_grad_()
    teacher, truth = output(*given.old, given.size), Target(given.labels, 5, 2.0, "negative", None)
    found = []
    for form in (dkd.loss, plain.dkd):
        total, terms = form(output(*given.new, given.size), teacher, truth, **plain.OPTIONS)
        found.append(({k: v.item() for k, v in terms.items()}, torch.autograd.grad(total, leaves)))
    assert {name: found[0][0][name] for name in found[1][0]} == pytest.approx(found[1][0], rel=1e-9)
    assert all(torch.allclose(*pair, rtol=1e-9, atol=1e-12) for pair in zip(found[0][1], found[1][1], strict=True))


def test_decomposed_terms_at_full_resolution():
    given = inputs(2, [3, 2], SHAPE)
    student, teacher = output(*given.new, given.size), output(*given.old, given.size)
    truth = Target(given.labels, 4, 2.0, "negative", None)
    _, grid = dkd.loss(student, teacher, truth, **plain.OPTIONS)
    _, full = dkd.loss(student, teacher, truth, **{**plain.OPTIONS, "resolution": "full"})
    parts = plain.decompose(student.features, student.weights[0]), plain.decompose(teacher.features, *teacher.weights)
    ours, theirs = ([plain.upsample(z, given.size) for z in part] for part in parts)
    for i, name in enumerate(("dkd_pos", "dkd_neg")):
        expected = plain.soft_bce(ours[i], theirs[i])
        assert full[name].item() == pytest.approx(expected.item(), rel=1e-9)
        assert full[name] != grid[name]
    assert all(full[name] == grid[name] for name in ("mbce", "kd", "ac"))


def test_earlier_classes_may_be_labelled_too():
    given = inputs(3, [3, 2], SHAPE)
    student = output(*given.new, given.size)
    _, every = finetune.loss(student, None, Target(given.labels, 1, 2.0, "negative", None))
    expected = plain.mbce(plain.upsample(student.scores, given.size), Target(given.labels, 1, 2.0, "negative", None))
    assert every["mbce"].item() == pytest.approx(expected.item(), rel=1e-12)


def test_names_and_options_of_a_method():
    assert (
        module_name("dkd-m") == "dkd.methods.dkd_m"
        and method_name("dkd.methods.dkd_m") == method_name("dkd_m") == "dkd-m"
    )
    replay = {"memory": 5, "confidence": 0.5, "replay": "stored"}
    found = sort_options({"start": "auxiliary", "kd": 5.0, **replay})
    assert found == ("auxiliary", 5, 0.5, "stored", {}, False, {"kd": 5.0})
    trains = sort_options({"lr_factor": 10.0, "train_norms": True, "kd": 5.0})
    rates = {"backbone": 10.0, "decoder": 10.0, "old": 10.0, "new": 10.0}
    assert trains == ("random", None, None, None, rates, True, {"kd": 5.0})
    own = sort_options({"lr_factor": 10.0, "lr_backbone": 0.0, "lr_new": 100.0}).rates
    assert own == {**rates, "backbone": 0.0, "new": 100.0}
    assert sort_options({"lr_old": 2.0}).rates == {"old": 2.0}
    assert sort_options({}) == ("random", None, None, None, {}, False, {})
