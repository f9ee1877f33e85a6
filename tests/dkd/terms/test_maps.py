"""Terms on maps between the layers against the same written out with autograd."""

import pytest
import torch
from torch.nn import functional as F

from dkd import bilinear
from dkd.terms import maps

SHAPES = ((3, 8, 8), (5, 7, 7), (4, 5, 5))
FACTORS = (0.5, 2.0, 0.1)


def levels(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    student = [torch.randn(2, *shape, dtype=dtype).requires_grad_() for shape in SHAPES]
    return student, [torch.randn(2, *shape, dtype=dtype) for shape in SHAPES]


def distance(x, y):
    return (x - y).flatten(1).norm(dim=1).mean()


def plain_strips(x, scales=(1, 2, 4)):
    found = []
    for scale in scales:
        k = x.shape[-1] // scale
        for i in range(scale):
            for j in range(scale):
                square = x[:, :, i * k : (i + 1) * k, j * k : (j + 1) * k]
                found += [square.mean(3).flatten(1), square.mean(2).flatten(1)]
    return torch.cat(found, 1)


def plain_pod(x, y):
    return distance(plain_strips(x**2), plain_strips(y**2))


def plain_spatial(x, y):
    pooled = [[F.avg_pool2d(z**2, k, 1, k // 2) for z in (x, y)] for k in (4, 8, 12, 16, 20, 24)]
    return sum(distance(*pair) for pair in pooled) / 6


def plain_channel(x, y):
    pooled = [F.avg_pool3d((z**2)[:, None], (3, 1, 1), 1, (1, 0, 0)) for z in (x, y)]
    return distance(*pooled)


POOLED = {"pod": lambda *given: maps.pod(*given, (1, 2, 4)), "spatial": maps.spatial, "channel": maps.channel}
TERMS = {"pod": plain_pod, "spatial": plain_spatial, "channel": plain_channel}


@pytest.mark.parametrize("elements", [1, 10**6])
@pytest.mark.parametrize("name", TERMS)
def test_terms_and_gradients_are_the_plain_ones(name, elements, monkeypatch):
    monkeypatch.setattr(bilinear, "CPU_ELEMENTS", elements)
    student, teacher = levels()
    ours = POOLED[name](student, teacher, FACTORS)
    theirs = sum(f * TERMS[name](*pair) for f, *pair in zip(FACTORS, student, teacher, strict=True)) / 3
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    for pair in zip(*(torch.autograd.grad(3 * term, student) for term in (ours, theirs)), strict=True):
        assert torch.allclose(*pair, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", TERMS)
def test_gradients_are_those_of_finite_differences(name):
    x, y = (torch.randn(2, 2, 4, 4, dtype=torch.float64) for _ in range(2))
    term = POOLED[name]
    assert torch.autograd.gradcheck(lambda x: term([x], [y], [0.7]), x.requires_grad_())


@pytest.mark.parametrize("name", TERMS)
def test_where_maps_agree_the_gradient_is_0(name):
    student, _ = levels()
    loss = POOLED[name](student, [x.detach() for x in student], FACTORS)
    assert loss == 0
    assert all((slope == 0).all() for slope in torch.autograd.grad(loss, student))


def test_what_scales_leave_over_is_dropped():
    x = torch.randn(1, 2, 7, 7)
    assert maps.strips(x, (1, 2, 4)).shape == (1, 2 * 2 * (7 + 4 * 3 + 16 * 1))
    edge = x.clone()
    edge[..., 6, :], edge[..., :, 6] = 9, 9
    assert torch.equal(maps.strips(x, (2, 4)), maps.strips(edge, (2, 4)))
    assert not torch.equal(maps.strips(x, (1,)), maps.strips(edge, (1,)))


def test_feature_is_the_mean_squared_difference(monkeypatch):
    monkeypatch.setattr(bilinear, "CPU_ELEMENTS", 1)
    (x, *_), (y, *_) = levels()
    terms = maps.feature(x, y), F.mse_loss(x, y)
    assert terms[0].item() == pytest.approx(terms[1].item(), rel=1e-12)
    assert torch.allclose(*(torch.autograd.grad(2 * term, x)[0] for term in terms), rtol=1e-12)


def test_new_logits_are_folded_into_the_background():
    x = torch.arange(5.0).view(1, 5, 1, 1)
    assert maps.fold(x, 3).flatten().tolist() == [7, 1, 2]
    assert maps.fold(x, 5).flatten().tolist() == [0, 1, 2, 3, 4]


def test_half_precision_and_autocast():
    student, teacher = levels(dtype=torch.float32)
    half = [x.detach().bfloat16().requires_grad_() for x in student]
    exact = [x.detach().double().requires_grad_() for x in half]
    for name in TERMS:
        term = POOLED[name]
        with torch.autocast("cpu", torch.bfloat16):
            loss = term(half, [y.bfloat16() for y in teacher], FACTORS)
        expected = term(exact, [y.bfloat16().double() for y in teacher], FACTORS)
        assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected.item(), rel=1e-6)
        for found, known in zip(torch.autograd.grad(loss, half), torch.autograd.grad(expected, exact), strict=True):
            assert found.dtype == torch.bfloat16
            assert torch.allclose(found.double(), known, rtol=0.005, atol=1e-6 * known.abs().max())


@pytest.mark.parametrize("name", TERMS)
def test_one_map_per_level_is_kept_for_the_gradient(name, monkeypatch):
    kept = []
    save = torch.autograd.function.FunctionCtx.save_for_backward
    monkeypatch.setattr(
        torch.autograd.function.FunctionCtx,
        "save_for_backward",
        lambda ctx, *tensors: kept.extend(tensors) or save(ctx, *tensors),
    )
    student, teacher = levels()
    loss = POOLED[name](student, teacher, FACTORS)
    assert [x.shape for x in kept] == [x.shape for x in student]
    assert all(a.untyped_storage().nbytes() == b.untyped_storage().nbytes() for a, b in zip(kept, student, strict=True))
    assert POOLED[name]([x.detach() for x in student], teacher, FACTORS) == loss
    assert len(kept) == len(student), "without a gradient nothing is kept"
