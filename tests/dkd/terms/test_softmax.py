"""Softmax terms against the formulas written out in double precision; PLOP's thresholds and labels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dkd import bilinear
from dkd.terms import softmax
from tests import plain


def plain_cross_entropy(full, labels, old):
    """-log of the probability of what a label says, at full size; 0 where it is void."""
    p = full.softmax(1)
    p = torch.cat((p[:, :old].sum(1, keepdim=True), p[:, old:]), 1)
    known = labels != 255
    merged = (labels.long() - old + 1).clamp(min=0) * known
    return -p.log().gather(1, merged[:, None])[:, 0] * known


def plain_distillation(full, taught, alpha=1.0):
    old = taught.shape[1]
    p = full.softmax(1)
    p = torch.cat((p[:, :1] + p[:, old:].sum(1, keepdim=True), p[:, 1:old]), 1)
    return -((alpha * taught).softmax(1) * p.log()).sum(1) / old


def drawn(seed, old, new, grid, size, *, spread=2.0, dtype=torch.float64):
    """Logits of student and teacher, and labels: any class and void."""
    torch.manual_seed(seed)
    x = (torch.randn(2, old + new, *grid, dtype=dtype) * spread).requires_grad_()
    y = torch.randn(2, old, *grid, dtype=dtype) * spread
    labels = torch.randint(0, old + new + 1, (2, *size))
    return x, y, torch.where(labels == old + new, 255, labels).to(torch.uint8)


def terms_of(x, y, labels, weight=None):
    """(ours, plain) of every term."""
    size, old = labels.shape[-2:], y.shape[1]
    full, taught = plain.upsample(x, size), plain.upsample(y, size)
    at = 1 if weight is None else weight
    return {
        "ce": (softmax.cross_entropy(x, labels, weight=weight, old=1), plain_cross_entropy(full, labels, 1) * at),
        "unbiased_ce": (
            softmax.cross_entropy(x, labels, old=old, weight=weight),
            plain_cross_entropy(full, labels, old) * at,
        ),
        "kd": (
            softmax.distillation(x[:, :old], y, size, weight=weight, alpha=1.0),
            plain_distillation(full[:, :old], taught) * at,
        ),
        "unbiased_kd": (
            softmax.distillation(x, y, size, alpha=1.5, weight=weight),
            plain_distillation(full, taught, 1.5) * at,
        ),
    }


def check(x, terms, rel):
    for name, (ours, theirs) in terms.items():
        theirs = theirs.mean()
        assert ours.item() == pytest.approx(theirs.item(), rel=rel), name
        found, expected = (torch.autograd.grad(3 * term, x, retain_graph=True)[0] for term in (ours, theirs))
        assert (found - expected).abs().max() <= rel * expected.abs().max() + 1e-15, name


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 5),
    st.integers(0, 4),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 17), st.integers(1, 17)),
    st.integers(1, 400),
    st.booleans(),
)
def test_any_shape_gives_what_the_plain_form_gives(seed, old, new, grid, size, cut, weighted):
    x, y, labels = drawn(seed, old, new, grid, size)
    weight = torch.rand(2, 1, 1, dtype=torch.float64) if weighted else None
    whole, bilinear.CPU_ELEMENTS = bilinear.CPU_ELEMENTS, cut
    try:
        check(x, terms_of(x, y, labels, weight), 1e-8)
    finally:
        bilinear.CPU_ELEMENTS = whole


def test_gradients_are_those_of_finite_differences():
    x, y, labels = drawn(0, 2, 2, (2, 3), (4, 5))
    assert torch.autograd.gradcheck(lambda x: softmax.cross_entropy(x, labels, old=2, weight=None), x)
    assert torch.autograd.gradcheck(lambda x: softmax.distillation(x, y, (4, 5), alpha=2.0, weight=None), x)


def test_without_old_classes_the_unbiased_cross_entropy_is_the_plain_one():
    x, _, labels = drawn(1, 1, 4, (3, 3), (7, 7))
    expected = F.cross_entropy(plain.upsample(x, (7, 7)), labels.long(), ignore_index=255, reduction="none").mean()
    assert softmax.cross_entropy(x, labels, old=1, weight=None).item() == pytest.approx(expected.item(), rel=1e-12)


def test_without_new_classes_both_distillations_are_at_their_least_where_networks_agree():
    _, y, _ = drawn(2, 4, 0, (3, 3), (3, 3))
    p = y.softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    x = y.clone().requires_grad_()
    loss = softmax.distillation(x, y, (3, 3), alpha=1.0, weight=None)
    assert loss.item() == pytest.approx(entropy.item() / 4, rel=1e-12)
    assert torch.autograd.grad(loss, x)[0].abs().max() < 1e-16


def test_void_says_nothing_and_stays_in_the_mean():
    x, _, labels = drawn(3, 3, 2, (5, 6), (5, 6))
    labels[:] = 4
    whole = softmax.cross_entropy(x, labels, old=3, weight=None).detach()
    half = labels.clone()
    half[0] = 255
    loss = softmax.cross_entropy(x, half, old=3, weight=None)
    (gradient,) = torch.autograd.grad(loss, x)
    assert (gradient[0] == 0).all() and (gradient[1] != 0).all()
    other = softmax.cross_entropy(x[:1], labels[:1], old=3, weight=None).item() / 2
    assert loss.item() == pytest.approx(whole.item() - other, rel=1e-12), "the mean is over both pictures"
    half[:] = 255
    assert softmax.cross_entropy(x, half, old=3, weight=None) == 0


def test_old_labels_count_as_background_in_the_unbiased_cross_entropy():
    x, _, labels = drawn(4, 3, 2, (4, 4), (4, 4))
    merged = torch.where(labels < 3, 0, labels)
    assert softmax.cross_entropy(x, labels, old=3, weight=None) == softmax.cross_entropy(x, merged, old=3, weight=None)
    assert softmax.cross_entropy(x, labels, old=1, weight=None) != softmax.cross_entropy(x, merged, old=1, weight=None)


def test_logits_far_apart_stay_finite():
    x = torch.tensor([200.0, -200.0, -200.0, 200.0]).view(1, 4, 1, 1).requires_grad_()
    y = torch.tensor([-300.0, 300.0]).view(1, 2, 1, 1)
    for label, expected in ((0, math.log(2)), (2, 400 + math.log(2)), (3, math.log(2))):
        loss = softmax.cross_entropy(x, torch.tensor([[[label]]], dtype=torch.uint8), old=2, weight=None)
        assert loss.item() == pytest.approx(expected, rel=1e-6)
        assert torch.autograd.grad(loss, x)[0].isfinite().all()
    loss = softmax.distillation(x, y, (1, 1), alpha=1.0, weight=None)
    assert loss.item() == pytest.approx((400 + math.log(2)) / 2, rel=1e-6)
    assert torch.autograd.grad(loss, x)[0].isfinite().all()


def test_single_precision_at_real_size():
    x, y, labels = drawn(5, 4, 2, (32, 32), (256, 256), dtype=torch.float32)
    exact = x.detach().double().requires_grad_()
    expected = terms_of(exact, y.double(), labels)
    for name, (ours, _) in terms_of(x, y, labels).items():
        known = expected[name][1].mean()
        assert ours.item() == pytest.approx(known.item(), rel=1e-6), name
        (found,), (slope,) = torch.autograd.grad(ours, x), torch.autograd.grad(known, exact, retain_graph=True)
        assert (found - slope).abs().max() <= 3e-6 * slope.abs().max(), name


def test_half_precision_and_autocast_change_no_term():
    x, y, labels = drawn(6, 3, 2, (4, 4), (32, 32), dtype=torch.float32)
    alone = terms_of(x, y, labels)
    with torch.autocast("cpu", torch.bfloat16):
        within = terms_of(x, y, labels)
        unsure, best = softmax.uncertainty(y, (32, 32), 5)
    assert all(alone[name][0] == within[name][0] for name in alone)
    for name in alone:
        assert torch.equal(*(torch.autograd.grad(terms[name][0], x)[0] for terms in (alone, within))), name
    assert all(map(torch.equal, softmax.uncertainty(y, (32, 32), 5), (unsure, best)))
    half = x.detach().bfloat16().requires_grad_()
    loss = softmax.distillation(half, y.bfloat16(), (32, 32), alpha=1.0, weight=None)
    loss.backward()
    assert loss.dtype == torch.float32 and half.grad.dtype == torch.bfloat16
    assert loss == softmax.distillation(half.float(), y.bfloat16().float(), (32, 32), alpha=1.0, weight=None)


def test_uncertainty_is_the_mean_entropy_over_two_logarithms():
    y = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    unsure, best = softmax.uncertainty(y, (9, 8), 7)
    p = plain.upsample(y, (9, 8)).softmax(1)
    expected = -(p * p.log()).mean(1) / math.log(5) / math.log(7)
    assert torch.allclose(unsure, expected, rtol=1e-6)
    assert torch.equal(best.long(), p.argmax(1))
    even, _ = softmax.uncertainty(torch.zeros(1, 5, 2, 2), (2, 2), 7)
    assert torch.allclose(even, torch.tensor(1 / (5 * math.log(7))))


def test_only_pixels_labelled_0_are_counted():
    y, labels = torch.randn(2, 4, 6, 6), torch.zeros(2, 6, 6, dtype=torch.uint8)
    labels[0, :3], labels[1, 0] = 5, 255
    counts = softmax.histogram(y, labels, 6)
    assert counts.shape == (6, 100) and counts.sum() == 72 - 18 - 6 and counts[4:].sum() == 0
    unsure, best = softmax.uncertainty(y, (6, 6), 6)
    for k in range(4):
        own = unsure[(labels == 0) & (best == k)]
        assert torch.equal(counts[k].float(), torch.histc(own, 100, 0, 1)), k


def plain_median(counts, running):
    """One class, a loop over bins; by `indices` each bin is found from its left edge, which rounding can lower."""
    if not sum(counts):
        return 0.001
    half, before = sum(counts) / 2, 0
    for i in range(100):
        at = int(i / 100 * 100) if running == "indices" else i
        step = at if running == "indices" else counts[at]
        if before < half <= before + counts[at]:
            break
        if i < 99:
            before += step
    if counts[at]:
        return max(i / 100 + (half - before) / counts[at] / 100, 0.001)
    # No bin fits: the last one is divided by its count.
    return math.nan if half == before else math.inf if half > before else 0.001


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["counts", "indices"]), st.sampled_from([3, 30, 100]))
def test_thresholds_are_the_loop_over_bins(seed, running, spread):
    torch.manual_seed(seed)
    counts = torch.zeros(5, 100, dtype=torch.int64)
    counts[:, :spread] = torch.randint(0, 60, (5, spread)) * (torch.rand(5, spread) < 0.5)
    found = softmax.thresholds(counts, running, 0.001).tolist()
    assert found == pytest.approx([plain_median(row, running) for row in counts.tolist()], rel=1e-6, nan_ok=True)


def test_the_median_by_counts_has_half_of_the_pixels_below():
    counts = torch.zeros(3, 100, dtype=torch.int64)
    counts[0, 10], counts[0, 20], counts[0, 30] = (10**6,) * 3
    counts[1, 0] = 6
    assert softmax.thresholds(counts, "counts", 0.001).tolist() == pytest.approx([0.205, 0.005, 0.001])
    # As released, a median is passed by where no bin holds half of the pixels: everything is trusted.
    assert softmax.thresholds(counts, "indices", 0.001).tolist() == pytest.approx([math.inf, 0.005, 0.001])


def test_answers_take_the_place_of_background_where_they_are_sure():
    # Three pixels sure of class 1, one that does not know.
    y = torch.tensor([[0.0, 9, 0], [0, 9, 0], [0, 9, 0], [0, 0, 0]]).T.reshape(1, 3, 2, 2)
    labels = torch.tensor([[[0, 3], [255, 0]]], dtype=torch.uint8)
    filled, share = softmax.pseudo_labels(y, labels, torch.tensor([0.01] * 4))
    assert filled.tolist() == [[[1, 3], [255, 255]]] and filled.dtype == torch.uint8
    assert share.item() == pytest.approx(0.5, abs=1e-6)
    filled, share = softmax.pseudo_labels(y, torch.full_like(labels, 255), torch.ones(4))
    assert (filled == 255).all() and share == 0, "nothing to fill"
    stray = torch.full_like(labels, 2)
    filled, share = softmax.pseudo_labels(y, stray, torch.tensor([0.0, 1, 0, 0]))
    assert filled.tolist() == [[[1, 1], [1, 255]]] and share.item() == pytest.approx(0.75, abs=1e-6)
