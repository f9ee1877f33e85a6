"""Logits at full size in parts: every pixel once, the values of `interpolate`, and its transpose."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dkd import bilinear
from dkd.terms import bands
from tests import plain


@pytest.fixture(params=[1, 60, 10**6])
def cut(request, monkeypatch):
    """Values at full size that are worked on at once: a row, a few rows, all images."""
    monkeypatch.setattr(bilinear, "CPU_ELEMENTS", request.param)


@pytest.mark.parametrize(("grid", "size"), [((3, 4), (9, 11)), ((5, 4), (5, 4)), ((5, 4), (5, 9)), ((6, 7), (3, 2))])
def test_parts_are_the_upsampled_logits(cut, grid, size):
    x = torch.randn(3, 2, *grid, dtype=torch.float64)
    expected = plain.upsample(x, size)
    upsampled, seen = bands.Upsampled(x, size), torch.zeros(3, *size)
    for part in upsampled.parts():
        images, rows = part
        assert torch.allclose(upsampled[part], expected[images, :, rows], rtol=1e-12, atol=1e-14)
        seen[part] += 1
    assert (seen == 1).all()


def test_what_is_read_is_not_the_logits_themselves():
    x = torch.randn(1, 2, 3, 3)
    kept = x.clone()
    upsampled = bands.Upsampled(x, (3, 3))
    for part in upsampled.parts():
        upsampled[part].zero_()
    assert torch.equal(x, kept)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 200), st.tuples(*[st.integers(1, 9)] * 4))
def test_any_cut_gives_the_same_total_and_gradient(seed, elements, sides):
    torch.manual_seed(seed)
    grid, size = sides[:2], sides[2:]
    x = torch.randn(2, 3, *grid, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, *size, dtype=torch.float64)

    def squares(values, part):
        at = weight[part]
        return values.square().sum(1) * at, 2 * values * at[:, None]

    whole, bilinear.CPU_ELEMENTS = bilinear.CPU_ELEMENTS, elements
    try:
        found = bands.total(x, size, squares)
    finally:
        bilinear.CPU_ELEMENTS = whole
    expected = (plain.upsample(x, size).square().sum(1) * weight).sum()
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    slopes = (torch.autograd.grad(3 * total, x)[0] for total in (found, expected))
    assert torch.allclose(*slopes, rtol=1e-10, atol=1e-12)


def test_nothing_of_full_size_is_kept_for_the_gradient():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        total = bands.total(x, (64, 64), lambda values, part: (values.square().sum(1), 2 * values))
    assert kept == [x.numel()]
    total.backward()
    assert x.grad is not None


def test_no_gradient_is_formed_where_none_is_wanted():
    x = torch.randn(2, 3, 4, 4)
    assert not bands.total(x, (8, 8), lambda values, part: (values.sum(1), torch.ones_like(values))).requires_grad
