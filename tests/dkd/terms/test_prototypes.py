"""STAR: what is kept of classes, what stands for them later, and its terms."""

import pytest
import torch
from torch.nn import functional as F

from dkd.terms import prototypes
from tests import plain


def test_cells_have_the_label_of_the_pixel_in_their_middle():
    labels = torch.arange(64 * 48).view(1, 64, 48)
    expected = labels[:, 8::16, 8::16]
    assert torch.equal(prototypes.at_cells(labels, (4, 3)), expected)
    assert prototypes.at_cells(labels[:, :33, :33], (3, 3)).tolist() == labels[:, 5:33:11, 5:33:11].tolist()
    assert torch.equal(prototypes.at_cells(labels, (64, 48)), labels)


def test_sums_over_batches_give_what_all_cells_give():
    torch.manual_seed(0)
    features = torch.randn(4, 5, 6, 6, dtype=torch.float64).relu()
    labels = torch.randint(0, 4, (4, 6, 6))
    parts = [prototypes.sums(features[i : i + 2].float(), labels[i : i + 2], [2, 3]) for i in (0, 2)]
    kept = prototypes.prototypes(prototypes.Sums(*(a + b for a, b in zip(*parts, strict=True))))
    for k, id in enumerate((2, 3)):
        own = features.movedim(1, -1)[labels == id]
        units = F.normalize(own, dim=1)
        direction = F.normalize(units.sum(0), dim=0)
        norms = own.norm(dim=1)
        expected = direction, (units - direction).square().mean(0).sqrt(), norms.mean(), norms.std(), len(own)
        for found, known in zip(kept[:-1], expected, strict=True):
            assert torch.allclose(found[k], torch.as_tensor(known).double(), rtol=1e-6), id
    assert kept.background == (labels == 0).sum()


def test_classes_with_one_cell_or_none_are_finite():
    features = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    kept = prototypes.prototypes(prototypes.sums(features, torch.tensor([[[1]]]), [1, 2]))
    assert torch.allclose(kept.units, torch.tensor([[0.6, 0.8], [0, 0]], dtype=torch.float64))
    assert kept.means.tolist() == [5, 0] and kept.deviations.tolist() == [0, 0] and kept.cells.tolist() == [1, 0]
    assert kept.noise.abs().max() < 1e-7


def test_as_many_fakes_as_cells_are_missing():
    kept = torch.tensor([100.0, 100, 100])
    found = torch.tensor([0, 55, 200])
    assert prototypes.fakes(kept, found, 10).tolist() == [10, 4, 0]
    assert prototypes.fakes(kept, 0, 30).tolist() == [3, 3, 3]


def test_background_counts_for_what_is_missing():
    assert prototypes.background_ratio(300, 100, 5, overlap=True) == pytest.approx(300 * 0.95 / 100 - 0.5)
    assert prototypes.background_ratio(10, 100, 5, overlap=True) == 0
    assert prototypes.background_ratio(300, 100, 5, overlap=False) == 3
    assert prototypes.background_ratio(300, 0, 5, overlap=True) == 0, "nothing to see again"


def test_fakes_scatter_around_their_prototype():
    torch.manual_seed(0)
    units = torch.tensor([[1.0, 0], [0, -1]], dtype=torch.float64)
    still = torch.zeros_like(units)
    means, deviations = torch.tensor([2.0, 3.0]), torch.tensor([0.0, 0.0])
    kept = prototypes.Prototypes(units, still, means, deviations, torch.ones(2), torch.tensor(0))
    found = prototypes.draw(kept, torch.tensor([2, 1]))
    assert found.tolist() == [[2, 0], [2, 0], [0, -3]] and found.dtype == torch.float32
    assert prototypes.draw(kept, torch.tensor([0, 0])).shape == (0, 2)
    many = torch.tensor([20000, 0])
    noisy = prototypes.draw(kept._replace(noise=torch.full_like(units, 0.5)), many)
    assert torch.allclose(noisy.mean(0), torch.tensor([2.0, 0.0]), atol=0.05)
    assert torch.allclose(noisy.std(0), torch.tensor([1.0, 1.0]), atol=0.05)
    # Norms are drawn for each value: a value that is 0 stays so, others scatter.
    scaled = prototypes.draw(kept._replace(deviations=torch.tensor([0.5, 0.0])), many)
    assert (scaled[:, 1] == 0).all() and scaled[:, 0].std().item() == pytest.approx(0.5, abs=0.05)


def test_replayed_is_the_weighted_mean_of_three_terms():
    torch.manual_seed(0)
    own = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    fake, again = (torch.randn(m, 3, dtype=torch.float64) for m in (7, 5))
    terms = [F.softplus(x).mean(0).sum() for x in (fake, again)]
    weights = 7 / 50, 0.75 * 5 / 50
    expected = (own + weights[0] * terms[0] + weights[1] * terms[1]) / (1 + sum(weights))
    found = prototypes.replayed(own, fake, again, cells=50, ratio=0.75)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    alone = prototypes.replayed(own, fake[:0], again[:0], cells=50, ratio=0.0)
    assert alone == own


def test_the_previous_answer_wants_a_logit_above_the_threshold():
    y = torch.tensor([[0.4, 0.3], [0.6, 0.7], [0.6, 0.2], [-3.0, 0.5]]).T.reshape(1, 2, 2, 2)
    assert prototypes.previous(y, (2, 2), 0.5).tolist() == [[[0, 2], [1, 0]]]
    assert prototypes.previous(y, (2, 2), 0.0).tolist() == [[[1, 2], [1, 2]]]
    y = torch.randn(2, 5, 3, 3)
    score, best = plain.upsample(y, (11, 14)).max(1)
    assert torch.equal(prototypes.previous(y, (11, 14), 0.5).long(), torch.where(score > 0.5, best + 1, 0))


def test_features_are_held_within_the_region_only():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    region = torch.zeros(2, 16, 16, dtype=torch.bool)
    region[0, :8] = True
    loss = prototypes.pkd(x, y, region)
    assert loss.item() == pytest.approx((x - y)[0, :, :2].square().mean().item(), rel=1e-12)
    (slope,) = torch.autograd.grad(loss, x)
    assert (slope[0, :, :2] != 0).all() and (slope[0, :, 2:] == 0).all() and (slope[1] == 0).all()
    empty = prototypes.pkd(x, y, torch.zeros_like(region))
    assert empty == 0 and (torch.autograd.grad(empty, x)[0] == 0).all()


def test_contrast_is_the_inverse_distance_to_the_nearest_prototype():
    torch.manual_seed(0)
    kept = F.normalize(torch.randn(4, 3, dtype=torch.float64), dim=1)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([5, 6]).view(2, 1, 1).expand(2, 8, 8)
    # Each picture is of one class.
    directions = F.normalize(F.normalize(x, dim=1).sum((2, 3)), dim=1)
    expected = (1 / torch.cdist(directions, kept).amin(1)).mean()
    found = prototypes.contrast(x, labels, kept, [5, 6])
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    assert torch.allclose(*(torch.autograd.grad(term, x, retain_graph=True)[0] for term in (found, expected)))
    assert torch.autograd.gradcheck(lambda x: prototypes.contrast(x, labels, kept, [5, 6]), x)
    absent = prototypes.contrast(x, labels, kept, [9])
    assert absent.item() == pytest.approx(1.0) and (torch.autograd.grad(absent, x)[0] == 0).all()


def test_features_of_0_have_a_finite_gradient():
    x = torch.zeros(1, 3, 2, 2, requires_grad=True)
    labels = torch.full((1, 2, 2), 5)
    (slope,) = torch.autograd.grad(prototypes.contrast(x, labels, torch.eye(3), [5]), x)
    assert slope.isfinite().all() and slope.abs().max() < 10


def test_half_precision_and_autocast():
    torch.manual_seed(0)
    x, y = (torch.randn(2, 3, 4, 4).bfloat16() for _ in range(2))
    labels, region = torch.randint(4, 7, (2, 8, 8)), torch.rand(2, 8, 8) < 0.5
    kept = torch.eye(3, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        terms = prototypes.pkd(x, y, region), prototypes.contrast(x, labels, kept, [5, 6])
    exact = (
        prototypes.pkd(x.double(), y.double(), region),
        prototypes.contrast(x.double(), labels, kept, [5, 6]),
    )
    for found, known in zip(terms, exact, strict=True):
        assert found.dtype == torch.float32 and found.item() == pytest.approx(known.item(), rel=1e-5)
