"""What new classifiers start from."""

import torch
from torch import nn

from dkd.model import starts
from dkd.terms import softmax


def answers(features, heads):
    """Logits (N, C, h, w) of classifiers one after the other."""
    return torch.cat([torch.einsum("ndhw,kd->nkhw", features, w) + b[:, None, None] for w, b in heads], 1)


def test_from_the_background_the_softmax_of_old_classes_stays():
    torch.manual_seed(0)
    features = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    heads = [(torch.randn(3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)) for _ in range(2)]
    before = answers(features, heads)
    (weight, bias), _ = heads
    new, biases, lowered = starts.from_background(weight[0], bias[0], 4)
    assert new.shape == (4, 4) and biases.shape == (4,) and lowered.shape == ()
    bias[0] = lowered
    after = answers(features, [*heads, (new, biases)])
    assert torch.allclose(after.exp().sum(1), before.exp().sum(1), rtol=1e-12)
    # So the unbiased distillation starts at its least value, without a gradient.
    after.requires_grad_()
    (slope,) = torch.autograd.grad(softmax.distillation(after, before, (3, 3), alpha=1.0, weight=None), after)
    assert slope.abs().max() < 1e-15


def test_starts_share_no_memory_with_what_they_come_from():
    weight, bias = torch.ones(4), torch.tensor(1.0)
    new, biases, lowered = starts.from_background(weight, bias, 2)
    for tensor in (new, biases, lowered, row := starts.from_background_row(weight, 1)):
        tensor.zero_()
    assert row.shape == (1, 4) and bias == 1 and (weight == 1).all()


def test_kernels_keep_their_shape():
    assert starts.from_background_row(torch.ones(4, 1, 1), 3).shape == (3, 4, 1, 1)
    assert starts.from_background(torch.ones(4, 1, 1), torch.tensor(0.0), 3)[0].shape == (3, 4, 1, 1)


def test_from_the_unknown_every_new_class_says_what_it_says():
    weight, bias = torch.randn(4, 1, 1), torch.tensor(0.5)
    new, biases = starts.from_unknown(weight, bias, 3)
    assert torch.equal(new, torch.stack([weight] * 3)) and biases.tolist() == [0.5] * 3
    new.zero_(), biases.zero_()
    assert (weight != 0).all() and bias == 0.5


def test_the_merged_convolution_is_the_mean_of_the_branches():
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(2, 3, 3, bias=bias).double() for bias in (True, False)]
    norms = [nn.BatchNorm2d(3).double() for _ in range(2)]
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    branches = []
    with torch.no_grad():
        for conv, norm in zip(convolutions, norms, strict=True):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.bias.normal_()
            scale = norm.weight.uniform_(0.5, 2).clone()
            branches.append(
                starts.Branch(conv.weight, scale, norm.bias, norm.running_mean, norm.running_var, conv.bias)
            )
            norm.weight += norm.eps
        kernel, bias = starts.merge(branches, norms[0].eps)
        outputs = [norm.eval()(conv(x)) for conv, norm in zip(convolutions, norms, strict=True)]
        merged = torch.nn.functional.conv2d(x, kernel, bias)
    assert torch.allclose(merged, torch.stack(outputs).mean(0), rtol=1e-9)
