"""The loss terms against numbers of the released implementation, and against the formulas written out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given as drawn_from
from hypothesis import settings
from hypothesis import strategies as st

from dkd import bilinear, losses
from dkd.methods import dkd, finetune, joint, kd
from dkd.model.segmenter import Output
from tests import plain

# Facts copied from the reference numbers, so that this holds where the reference data is missing.
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


def answer(features, heads, size) -> Output:
    auxiliary, *steps = [
        torch.nn.functional.conv2d(features if i else features.detach(), weight[..., None, None], bias)
        for i, (weight, bias) in enumerate(heads)
    ]
    return Output(features, tuple(steps), auxiliary, tuple(weight for weight, _ in heads[1:]), size)


def target(given: SimpleNamespace, case: dict) -> losses.Target:
    return losses.Target(given.labels, sum(case["classes"][:-1]) + 1, case["pos_weight"])


def check(case: dict, shape: dict):
    given = inputs(case["seed"], case["classes"], shape)
    features, heads = given.new
    leaves = {"feat": features}
    for i, (weight, bias) in enumerate(heads):
        leaves |= {f"cls{i}.weight": weight, f"cls{i}.bias": bias}
    for leaf in leaves.values():
        leaf.requires_grad_()
    student = answer(features, heads, given.size)
    if given.old is None:
        total, terms = joint.loss(student, None, target(given, case))
    else:
        teacher = answer(*given.old, given.size)
        total, terms = dkd.loss(student, teacher, target(given, case), kd=5, dkd=5, ac=1)
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


def sigmoid_bce(x, t):
    p = torch.sigmoid(x)
    return -(t * torch.log(p) + (1 - t) * torch.log(1 - p))


def test_terms_are_the_written_formulas():
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    assert torch.allclose(losses.soft_bce(x, y, (4, 5)), sigmoid_bce(x, torch.sigmoid(y)).mean((0, 2, 3)).sum())
    assert torch.allclose(losses.auxiliary(x[:, :1], (4, 5)), -torch.log(1 - torch.sigmoid(x[:, :1])).mean())
    labels = torch.tensor([0, 4, 5, 6, 255], dtype=torch.uint8).expand(2, 4, 5)
    one_hot = torch.stack([labels == k for k in (4, 5, 6)], dim=1).double()
    p = torch.sigmoid(x)
    expected = -(3 * one_hot * torch.log(p) + (1 - one_hot) * torch.log(1 - p)).mean((0, 2, 3)).sum()
    assert torch.allclose(losses.mbce(x, losses.Target(labels, 4, 3.0)), expected)


def test_decomposition_adds_up_and_has_its_signs():
    torch.manual_seed(0)
    features, weight = torch.rand(2, 8, 3, 4, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    positive, negative = losses.decompose(features, weight)
    whole = torch.einsum("ndhw,kd->nkhw", features, weight)
    assert torch.allclose(positive + negative, whole)
    assert (positive >= 0).all() and (negative <= 0).all()
    products = features[:, None] * weight[None, :, :, None, None]
    assert torch.allclose(positive, products.clamp(min=0).sum(2))


def test_the_sign_is_that_of_the_weight_or_of_the_product():
    torch.manual_seed(0)
    features, weight = torch.randn(2, 8, 3, 4, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    products = features[:, None] * weight[None, :, :, None, None]
    by_weight, by_product = losses.decompose(features, weight), losses.decompose(features, weight, "product")
    heavy = (weight > 0)[None, :, :, None, None]
    for found, kept in (
        (by_weight, (products * heavy, products * ~heavy)),
        (by_product, (products.clamp(min=0), products.clamp(max=0))),
    ):
        assert all(torch.allclose(ours, theirs.sum(2)) for ours, theirs in zip(found, kept, strict=True))
    assert not torch.allclose(by_weight[0], by_product[0])
    seen = features.relu()
    for ours, theirs in zip(losses.decompose(seen, weight), losses.decompose(seen, weight, "product"), strict=True):
        assert torch.allclose(ours, theirs)


def test_void_pixels_say_no_or_nothing():
    torch.manual_seed(0)
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 3, 4), dtype=torch.uint8)
    labels[0, :2] = 255
    (gradient,) = torch.autograd.grad(losses.mbce(x, losses.Target(labels, 1, 2.0, "ignore")), x)
    assert (gradient[0, :, :2] == 0).all() and (gradient[0, :, 2:] != 0).all() and (gradient[1] != 0).all()
    (gradient,) = torch.autograd.grad(losses.mbce(x, losses.Target(labels, 1, 2.0)), x)
    assert (gradient[0, :, :2] > 0).all(), "negative, as released"
    # Without void pixels there is nothing to choose.
    labels[labels == 255] = 0
    assert torch.allclose(*(losses.mbce(x, losses.Target(labels, 1, 2.0, void)) for void in ("ignore", "negative")))
    labels[:] = 255
    assert losses.mbce(x, losses.Target(labels, 1, 2.0, "ignore")) == 0


def test_decomposed_terms_at_full_resolution():
    given = inputs(2, [3, 2], SHAPE)
    student, teacher = answer(*given.new, given.size), answer(*given.old, given.size)
    truth, weights = losses.Target(given.labels, 4, 2.0), {"kd": 5, "dkd": 5, "ac": 1}
    _, grid = dkd.loss(student, teacher, truth, **weights)
    _, full = dkd.loss(student, teacher, truth, **weights, resolution="full")
    parts = losses.decompose(student.features, student.weights[0]), losses.decompose(teacher.features, *teacher.weights)
    ours, theirs = ([torch.nn.functional.interpolate(z, given.size, mode="bilinear") for z in part] for part in parts)
    for i, name in enumerate(("dkd_pos", "dkd_neg")):
        expected = sigmoid_bce(ours[i], torch.sigmoid(theirs[i])).mean((0, 2, 3)).sum()
        assert full[name].item() == pytest.approx(expected.item(), rel=1e-9)
        assert full[name] != grid[name]
    assert all(full[name] == grid[name] for name in ("mbce", "kd", "ac"))


def test_labels_may_speak_of_earlier_classes_too():
    given = inputs(3, [3, 2], SHAPE)
    student = answer(*given.new, given.size)
    _, every = finetune.loss(student, None, losses.Target(given.labels, 1, 2.0))
    expected = plain.mbce(plain.upsample(student.scores, given.size), losses.Target(given.labels, 1, 2.0))
    assert every["mbce"].item() == pytest.approx(expected.item(), rel=1e-12)


def test_losses_are_float32_under_half_precision():
    x, y = torch.randn(1, 2, 4, 4, dtype=torch.bfloat16), torch.randn(1, 2, 4, 4, dtype=torch.bfloat16)
    labels = torch.ones(1, 4, 4, dtype=torch.uint8)
    target = losses.Target(labels, 1, 2.0)
    terms = [losses.mbce(x, target), losses.soft_bce(x, y, (4, 4)), losses.auxiliary(x[:, :1], (4, 4))]
    assert {term.dtype for term in terms} == {torch.float32}
    assert losses.soft_bce(x, y, (4, 4)) == losses.soft_bce(x.float(), y.float(), (4, 4))


def test_methods_differ_in_their_terms_only():
    given = inputs(1, [3, 2], SHAPE)
    student, teacher = answer(*given.new, given.size), answer(*given.old, given.size)
    truth = losses.Target(given.labels, 4, 2.0)
    _, tuned = finetune.loss(student, None, truth)
    _, distilled = kd.loss(student, teacher, truth, kd=5)
    total, decomposed = dkd.loss(student, teacher, truth, kd=5, dkd=5, ac=1)
    assert set(tuned) == {"mbce"} and set(distilled) == {"mbce", "kd", "kd_kl"}
    soft = {"kd", "dkd_pos", "dkd_neg"}
    assert set(decomposed) == {"mbce", "ac", *soft, *(f"{name}_kl" for name in soft)}
    assert tuned["mbce"] == distilled["mbce"] == decomposed["mbce"] and distilled["kd"] == decomposed["kd"]
    alone, _ = dkd.loss(student, teacher, truth, kd=0, dkd=0, ac=0)
    assert alone == tuned["mbce"] and total > alone


def drawn(seed: int, classes: int, grid: tuple, size: tuple, *, spread=3.0, first=1, dtype=torch.float64):
    """Logits of student and teacher, and labels: background, every class and void."""
    torch.manual_seed(seed)
    x, y = (torch.randn(2, classes, *grid, dtype=dtype) * spread - 1 for _ in range(2))
    labels = torch.randint(0, classes + 2, (2, *size))
    labels = torch.where(labels == classes + 1, 255, torch.where(labels > 0, labels + first - 1, 0))
    return x.requires_grad_(), y, labels.to(torch.uint8)


def terms_of(x, y, labels, void, first, weight=2.5):
    """(ours, plain) of every term."""
    size, target = labels.shape[-2:], losses.Target(labels, first, weight, void)
    full, taught = plain.upsample(x, size), plain.upsample(y, size)
    return {
        "mbce": (losses.mbce(x, target), plain.mbce(full, target)),
        "kd": (losses.soft_bce(x, y, size), plain.soft_bce(full, taught)),
        "ac": (losses.auxiliary(x[:, :1], size), plain.auxiliary(full[:, :1])),
    }


def check_against_plain(x, y, labels, void, first, rel):
    for name, (ours, theirs) in terms_of(x, y, labels, void, first).items():
        assert ours.item() == pytest.approx(theirs.item(), rel=rel), name
        found, expected = (torch.autograd.grad(3 * term, x)[0] for term in (ours, theirs))
        assert (found - expected).abs().max() <= rel * expected.abs().max(), name


@settings(max_examples=40, deadline=None)
@drawn_from(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 5), st.integers(1, 23), st.floats(0.01, 30.0))
def test_divergence_is_what_is_above_the_entropy_of_the_target(seed, classes, grid, side, spread):
    x, y, _ = drawn(seed, classes, (grid, grid + 1), (side, side + 2), spread=spread)
    stride = 1 if (grid, grid + 1) == (side, side + 2) else losses.LATTICE
    full, taught = (plain.upsample(each, (side, side + 2))[..., ::stride, ::stride] for each in (x, y))
    above = plain.soft_bce(full, taught) - plain.soft_bce(taught, taught)
    found = losses.divergence(x, y, (side, side + 2))
    assert found.item() == pytest.approx(above.item(), rel=1e-9, abs=1e-7) and not found.requires_grad
    assert losses.divergence(y, y, (side, side + 2)) == 0
    assert losses.divergence(x.float(), y.half(), (4, 5)).dtype == torch.float32


@settings(max_examples=40, deadline=None)
@drawn_from(
    st.integers(0, 2**31),
    st.integers(1, 7),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 23), st.integers(1, 23)),
    st.sampled_from(["negative", "ignore"]),
    st.integers(1, 40),
    st.integers(0, 3),
    st.sampled_from([0.01, 3.0, 30.0]),
)
def test_any_shape_gives_what_the_plain_form_gives(seed, classes, grid, size, void, first, cut, spread):
    whole, bilinear.CPU_ELEMENTS = bilinear.CPU_ELEMENTS, 2 * size[0] * size[1] * cut
    try:
        check_against_plain(*drawn(seed, classes, grid, size, spread=spread, first=first), void, first, 1e-8)
    finally:
        bilinear.CPU_ELEMENTS = whole


@pytest.mark.parametrize("void", ["negative", "ignore"])
def test_gradients_are_those_of_finite_differences(void):
    x, y, labels = drawn(0, 3, (2, 3), (7, 8))
    target = losses.Target(labels, 1, 2.5, void)
    assert torch.autograd.gradcheck(lambda x: losses.mbce(x, target), x)
    assert torch.autograd.gradcheck(lambda x: losses.soft_bce(x, y, (7, 8)), x)
    assert torch.autograd.gradcheck(lambda x: losses.auxiliary(x, (7, 8)), x)


@pytest.mark.parametrize(("classes", "spread"), [(20, 4.0), (50, 0.1)])
def test_single_precision_at_real_size(classes, spread):
    """Held to the plain form in double precision: in single precision that form itself is off by up to 1e-5."""
    x, y, labels = drawn(1, classes, (32, 32), (512, 512), spread=spread, dtype=torch.float32)
    exact = x.detach().double().requires_grad_()
    expected = terms_of(exact, y.double(), labels, "negative", 1)
    for name, (ours, _) in terms_of(x, y, labels, "negative", 1).items():
        assert ours.item() == pytest.approx(expected[name][1].item(), rel=1e-6), name
        (found,), (known,) = torch.autograd.grad(ours, x), torch.autograd.grad(expected[name][1], exact)
        assert (found - known).abs().max() <= 3e-6 * known.abs().max(), name


def test_autocast_changes_no_term():
    x, y, labels = drawn(2, 5, (4, 4), (64, 64), dtype=torch.float32)
    alone = [ours for ours, _ in terms_of(x, y, labels, "ignore", 1).values()]
    with torch.autocast("cpu", torch.bfloat16):
        within = [ours for ours, _ in terms_of(x, y, labels, "ignore", 1).values()]
        gradients = [torch.autograd.grad(term, x)[0] for term in within]
    assert alone == within
    assert all(
        torch.equal(*pair) for pair in zip(gradients, (torch.autograd.grad(t, x)[0] for t in alone), strict=True)
    )
    features, weight = torch.rand(2, 8, 4, 4), torch.randn(3, 8)
    for by in ("weight", "product"):
        without = losses.decompose(features, weight, by)
        with torch.autocast("cpu", torch.bfloat16):
            assert all(map(torch.equal, losses.decompose(features, weight, by), without))
    half = x.detach().bfloat16().requires_grad_()
    losses.auxiliary(half[:, :1], (64, 64)).backward()
    assert half.grad.dtype == torch.bfloat16


def test_the_objective_is_the_plain_one():
    given = inputs(4, [4, 2], SHAPE)
    leaves = [given.new[0], *(x for pair in given.new[1] for x in pair)]
    for leaf in leaves:
        leaf.requires_grad_()
    teacher, truth = answer(*given.old, given.size), losses.Target(given.labels, 5, 2.0)
    found = []
    for form in (dkd.loss, plain.dkd):
        total, terms = form(answer(*given.new, given.size), teacher, truth, kd=5, dkd=5, ac=1)
        found.append(({k: v.item() for k, v in terms.items()}, torch.autograd.grad(total, leaves)))
    assert {name: found[0][0][name] for name in found[1][0]} == pytest.approx(found[1][0], rel=1e-9)
    assert all(torch.allclose(*pair, rtol=1e-9, atol=1e-12) for pair in zip(found[0][1], found[1][1], strict=True))


def test_resizing_and_its_transpose():
    for grid, size in (((5, 7), (65, 97)), ((4, 4), (4, 4)), ((3, 2), (2, 5))):
        resize = bilinear.Resize(grid, size, torch.zeros((), dtype=torch.float64))
        x = torch.randn(2, 3, *grid, dtype=torch.float64, requires_grad=True)
        full, slope = plain.upsample(x, size), torch.randn(2, 3, *size, dtype=torch.float64)
        assert torch.allclose(resize.up(x), full, rtol=1e-12)
        assert torch.allclose(resize.down(slope), torch.autograd.grad(full, x, slope)[0], rtol=1e-9)
