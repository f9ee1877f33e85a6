"""The loss terms against the formulas written out, and against the textbook form."""

import math

import pytest
import torch
from hypothesis import given as drawn_from
from hypothesis import settings
from hypothesis import strategies as st

from dkd import bilinear, losses
from tests import plain


def target(labels, first, pos_weight, void="negative", visible=None) -> losses.Target:
    return losses.Target(labels, first, pos_weight, void, visible)


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
    assert torch.allclose(losses.mbce(x, target(labels, 4, 3.0)), expected)


def test_decomposition_adds_up_and_has_its_signs():
    torch.manual_seed(0)
    features, weight = torch.rand(2, 8, 3, 4, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    positive, negative = losses.decompose(features, weight, "weight")
    whole = torch.einsum("ndhw,kd->nkhw", features, weight)
    assert torch.allclose(positive + negative, whole)
    assert (positive >= 0).all() and (negative <= 0).all()
    products = features[:, None] * weight[None, :, :, None, None]
    assert torch.allclose(positive, products.clamp(min=0).sum(2))


def test_the_sign_is_that_of_the_weight_or_of_the_product():
    torch.manual_seed(0)
    features, weight = torch.randn(2, 8, 3, 4, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    products = features[:, None] * weight[None, :, :, None, None]
    by_weight, by_product = losses.decompose(features, weight, "weight"), losses.decompose(features, weight, "product")
    heavy = (weight > 0)[None, :, :, None, None]
    for found, kept in (
        (by_weight, (products * heavy, products * ~heavy)),
        (by_product, (products.clamp(min=0), products.clamp(max=0))),
    ):
        assert all(torch.allclose(ours, theirs.sum(2)) for ours, theirs in zip(found, kept, strict=True))
    assert not torch.allclose(by_weight[0], by_product[0])
    seen = features.relu()
    for ours, theirs in zip(
        losses.decompose(seen, weight, "weight"), losses.decompose(seen, weight, "product"), strict=True
    ):
        assert torch.allclose(ours, theirs)


def test_void_pixels_are_negative_or_ignored():
    torch.manual_seed(0)
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 3, 4), dtype=torch.uint8)
    labels[0, :2] = 255
    (gradient,) = torch.autograd.grad(losses.mbce(x, target(labels, 1, 2.0, "ignore")), x)
    assert (gradient[0, :, :2] == 0).all() and (gradient[0, :, 2:] != 0).all() and (gradient[1] != 0).all()
    (gradient,) = torch.autograd.grad(losses.mbce(x, target(labels, 1, 2.0)), x)
    assert (gradient[0, :, :2] > 0).all(), "negative, as released"
    # Without void pixels there is nothing to choose.
    labels[labels == 255] = 0
    assert torch.allclose(*(losses.mbce(x, target(labels, 1, 2.0, void)) for void in ("ignore", "negative")))
    labels[:] = 255
    assert losses.mbce(x, target(labels, 1, 2.0, "ignore")) == 0


def test_losses_are_float32_under_half_precision():
    x, y = torch.randn(1, 2, 4, 4, dtype=torch.bfloat16), torch.randn(1, 2, 4, 4, dtype=torch.bfloat16)
    labels = torch.ones(1, 4, 4, dtype=torch.uint8)
    terms = [losses.mbce(x, target(labels, 1, 2.0)), losses.soft_bce(x, y, (4, 4)), losses.auxiliary(x[:, :1], (4, 4))]
    assert {term.dtype for term in terms} == {torch.float32}
    assert losses.soft_bce(x, y, (4, 4)) == losses.soft_bce(x.float(), y.float(), (4, 4))


def drawn(seed: int, classes: int, grid: tuple, size: tuple, *, spread=3.0, first=1, dtype=torch.float64):
    """Logits of student and teacher, and labels: background, every class and void."""
    torch.manual_seed(seed)
    x, y = (torch.randn(2, classes, *grid, dtype=dtype) * spread - 1 for _ in range(2))
    labels = torch.randint(0, classes + 2, (2, *size))
    labels = torch.where(labels == classes + 1, 255, torch.where(labels > 0, labels + first - 1, 0))
    return x.requires_grad_(), y, labels.to(torch.uint8)


def terms_of(x, y, labels, void, first, weight=2.5):
    """(ours, plain) of every term."""
    size, truth = labels.shape[-2:], target(labels, first, weight, void)
    full, teacher = plain.upsample(x, size), plain.upsample(y, size)
    return {
        "mbce": (losses.mbce(x, truth), plain.mbce(full, truth)),
        "kd": (losses.soft_bce(x, y, size), plain.soft_bce(full, teacher)),
        "ac": (losses.auxiliary(x[:, :1], size), plain.auxiliary(full[:, :1])),
    }


def check_against_plain(x, y, labels, void, first, rel):
    for name, (ours, theirs) in terms_of(x, y, labels, void, first).items():
        assert ours.item() == pytest.approx(theirs.item(), rel=rel), name
        found, expected = (torch.autograd.grad(3 * term, x)[0] for term in (ours, theirs))
        assert (found - expected).abs().max() <= rel * expected.abs().max(), name


@settings(max_examples=40, deadline=None)
@drawn_from(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 5), st.integers(1, 23), st.floats(0.01, 30.0))
def test_divergence_is_soft_bce_less_the_entropy_of_the_target(seed, classes, grid, side, spread):
    x, y, _ = drawn(seed, classes, (grid, grid + 1), (side, side + 2), spread=spread)
    stride = 1 if (grid, grid + 1) == (side, side + 2) else losses.STRIDE
    full, teacher = (plain.upsample(each, (side, side + 2))[..., ::stride, ::stride] for each in (x, y))
    above = plain.soft_bce(full, teacher) - plain.soft_bce(teacher, teacher)
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bilinear, "CPU_ELEMENTS", 2 * size[0] * size[1] * cut)
        check_against_plain(*drawn(seed, classes, grid, size, spread=spread, first=first), void, first, 1e-8)


@pytest.mark.parametrize("void", ["negative", "ignore"])
def test_gradients_are_those_of_finite_differences(void):
    x, y, labels = drawn(0, 3, (2, 3), (7, 8))
    truth = target(labels, 1, 2.5, void)
    assert torch.autograd.gradcheck(lambda x: losses.mbce(x, truth), x)
    assert torch.autograd.gradcheck(lambda x: losses.soft_bce(x, y, (7, 8)), x)
    assert torch.autograd.gradcheck(lambda x: losses.auxiliary(x, (7, 8)), x)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "spread", "side"), [(20, 4.0, 512), (50, 0.1, 256)])
def test_single_precision_at_real_size(classes, spread, side):
    """Compared with the plain form in double precision: in single precision that form itself errs by up to 1e-5."""
    grid, full = (side // 16, side // 16), (side, side)
    x, y, labels = drawn(1, classes, grid, full, spread=spread, dtype=torch.float32)
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


def test_resizing_and_its_transpose():
    multiples = ((5, 7), (80, 97)), ((4, 3), (20, 6)), ((2, 3), (6, 9)), ((1, 3), (4, 6)), ((3, 1), (3, 5))
    for grid, size in (((5, 7), (65, 97)), ((4, 4), (4, 4)), ((3, 2), (2, 5)), *multiples):
        resize = bilinear.Resize(grid, size, torch.zeros((), dtype=torch.float64), stride=1)
        x = torch.randn(2, 3, *grid, dtype=torch.float64, requires_grad=True)
        full, grad = plain.upsample(x, size), torch.randn(2, 3, *size, dtype=torch.float64)
        assert torch.allclose(resize.up(x, None), full, rtol=1e-12)
        assert torch.allclose(resize.down(grad), torch.autograd.grad(full, x, grad)[0], rtol=1e-9)


def test_a_class_has_a_loss_where_it_is_labelled():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 4, 5), dtype=torch.uint8)
    visible = torch.tensor([[True, False, True], [False, False, True]])
    whole = losses.mbce(x, target(labels, 1, 2.0, visible=visible))
    parts = [
        losses.mbce(x[:1, :1], target(labels[:1], 1, 2.0)) / 2,
        losses.mbce(x[:, 2:], target(labels, 3, 2.0)),
    ]
    assert torch.allclose(whole, sum(parts))
    (gradient,) = torch.autograd.grad(whole, x)
    assert (gradient[:, 1] == 0).all() and (gradient[1, 0] == 0).all() and (gradient[0, 0] != 0).all()
    same = losses.mbce(x, target(labels, 1, 2.0, visible=torch.ones(2, 3, dtype=torch.bool)))
    assert torch.allclose(same, losses.mbce(x, target(labels, 1, 2.0)))


@pytest.mark.parametrize("void", ["negative", "ignore"])
def test_parts_of_a_batch_give_what_the_whole_gives(void):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 4, 5, dtype=torch.float64)
    labels = torch.randint(0, 4, (4, 4, 5), dtype=torch.uint8)
    labels[0, :3] = labels[1:3, 0] = 255
    visible = torch.tensor([[True, True, False], [False, False, True], [True, False, True], [False, False, True]])
    whole = losses.mbce(x, target(labels, 1, 2.0, void, visible))
    for size in (1, 2):
        parts = [
            losses.mbce(x[i : i + size], target(labels[i : i + size], 1, 2.0, void, visible[i : i + size]))
            for i in range(0, 4, size)
        ]
        assert torch.allclose(whole, torch.stack(parts).mean())


@pytest.mark.parametrize("count", [1, 31, 32, 33, 5000])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 3e-8), (torch.float64, 1e-15)])
def test_many_values_have_one_logarithm(count, dtype, error):
    x = torch.linspace(-60, 60, count, dtype=dtype)
    expected, grad = torch.logaddexp(x.double(), torch.zeros(())).sum(), torch.empty_like(x)
    total = losses._negative_bce(x.clone(), grad, torch.empty_like(x))
    assert abs(total - expected) <= count * error + expected * 4 * torch.finfo(dtype).eps
    assert torch.equal(grad, x.sigmoid())


def test_a_logit_of_minus_infinity_counts_as_nothing_and_others_are_not_hidden():
    def total(*values):
        x = torch.tensor(values)
        return losses._negative_bce(x, torch.empty_like(x), torch.empty_like(x))

    assert total(-math.inf, -math.inf) == 0
    assert total(-math.inf, 3.0) == total(3.0)
    assert total(math.inf, 0.0) == math.inf and total(math.nan, 0.0).isnan()
