"""Loss terms of the methods whose classes compete in a softmax, and what PLOP's labels are made of.

Channel 0 is the background, channel c the class of id c. `old` counts the channels of the previous network, its
background among them. Labels (N, H, W) name the new classes; 0 is everything else, 255 void. Logits come on the
grid of the features, (N, C, h, w), and are meant at full size (H, W), upsampled bilinearly (`dkd.terms.bands`).

Every term is a mean over all pixels, void ones included, which count as 0. It is computed in float32 at least.
"""

import math

import torch
from torch import Tensor

from dkd.data.classes import VOID
from dkd.precision import full
from dkd.terms import bands

BINS = 100
"""Of the histograms from which PLOP reads its thresholds."""
TINY = 1e-8
"""What the release of PLOP adds within a logarithm."""


def cross_entropy(logits: Tensor, labels: Tensor, *, old: int, weight: Tensor | None) -> Tensor:
    """Cross-entropy: plain with `old` = 1; with the channels of a previous network, the unbiased one (MiB).

    logits (N, C, h, w); labels (N, H, W). Where a label is below `old`, it says "background or any old class", whose
    probabilities are added up. `weight`, of a shape that fits (N, H, W), multiplies the loss of each pixel. Scalar.
    """
    weights = None if weight is None else weight.expand(labels.shape)

    def pointwise(x: Tensor, part: bands.Part) -> tuple[Tensor, Tensor]:
        ids = labels[part].long().unsqueeze(1)
        factor = (ids != VOID).to(x)
        if weights is not None:
            factor *= weights[part].unsqueeze(1)
        rest = ids < old
        own = ids.masked_fill(rest | (ids == VOID), 0)
        logs = x.log_softmax(1)
        together = logs[:, :old].logsumexp(1, keepdim=True)
        loss = torch.where(rest, together, logs.gather(1, own)).mul_(factor).neg_()
        shares = (logs[:, :old] - together).exp_().mul_(rest)
        slope = logs.exp_()
        slope[:, :old] -= shares
        slope.scatter_add_(1, own, rest.to(x).sub_(1))
        return loss, slope.mul_(factor)

    return bands.total(logits, labels.shape[-2:], pointwise) / labels.numel()


def distillation(
    logits: Tensor, teacher: Tensor, size: tuple[int, int], *, alpha: float, weight: Tensor | None
) -> Tensor:
    """Cross-entropy with the teacher's softmax as soft target, unbiased (MiB), and divided by the teacher's channels.

    logits (N, C, h, w); teacher (N, O, h, w), O <= C; both upsampled to `size`. The student's probability of the
    background is that of the background or any channel beyond the teacher's. With logits cut to the O channels it is
    the distillation of LwF and ILT. `alpha` multiplies the teacher's logits; `weight`, of a shape that fits (N, H, W),
    the loss of each pixel. Scalar. Its least value is the entropy of the target divided by O, not 0.
    """
    old = teacher.shape[1]
    taught = bands.Upsampled(teacher.to(full(logits)), size)
    weights = None if weight is None else weight.expand(len(logits), *size)

    def pointwise(x: Tensor, part: bands.Part) -> tuple[Tensor, Tensor]:
        truth = taught[part].mul_(alpha).softmax(1)
        logs = x.log_softmax(1)
        rest = torch.cat((logs[:, :1], logs[:, old:]), 1)
        together = rest.logsumexp(1, keepdim=True)
        loss = (truth[:, 1:] * logs[:, 1:old]).sum(1, keepdim=True).addcmul_(truth[:, :1], together).div_(-old)
        shares = rest.sub_(together).exp_().mul_(truth[:, :1])
        slope = logs.exp_()
        slope[:, 1:old] -= truth[:, 1:]
        slope[:, :1] -= shares[:, :1]
        slope[:, old:] -= shares[:, 1:]
        slope.div_(old)
        if weights is not None:
            factor = weights[part].unsqueeze(1)
            loss, slope = loss * factor, slope * factor
        return loss, slope

    return bands.total(logits, size, pointwise) / (len(logits) * size[0] * size[1])


@torch.no_grad()
def uncertainty(teacher: Tensor, size: tuple[int, int], classes: int) -> tuple[Tensor, Tensor]:
    """How unsure the previous network is of each pixel, and its most probable class (PLOP, as released).

    teacher (N, O, h, w), upsampled to `size`; `classes`: channels of the network that learns, C. The uncertainty
    (N, H, W) is the mean over classes of -p log p, over log O and log C: not above 1 / (O log C). Classes (N, H, W),
    uint8, 0..O-1.
    """
    upsampled = bands.Upsampled(teacher, size)
    unsure = upsampled.grid.new_empty(len(teacher), *size)
    best = torch.empty_like(unsure, dtype=torch.uint8)
    for part in upsampled.parts():
        p = upsampled[part].softmax(1)
        best[part] = p.argmax(1)
        unsure[part] = (p + TINY).log_().mul_(p).mean(1)
    return unsure.div_(-math.log(teacher.shape[1] + TINY) * math.log(classes)), best


def histogram(teacher: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often each class is predicted with which `uncertainty`, where labels (N, H, W) are 0 (PLOP).

    teacher (N, O, h, w). Counts (C, 100), int64, of equal bins from 0 to 1; those of several batches are added.
    """
    unsure, best = uncertainty(teacher, labels.shape[-2:], classes)
    free = labels == 0
    bins = (unsure[free] * BINS).long().clamp_(0, BINS - 1)
    return torch.bincount(best[free].long() * BINS + bins, minlength=classes * BINS).view(classes, BINS)


def thresholds(counts: Tensor, running: str, lowest: float) -> Tensor:
    """The uncertainty below which a prediction is trusted, per class (PLOP): counts (C, 100) -> (C,).

    In float64 on the CPU. It is the median, by linear interpolation within its bin, but not below `lowest`, which is
    also that of a class without counts. `running`: what is added up on the way to the median, the `counts` or, as
    released by mistake, the `indices` of the bins. The latter can pass the median by; then inf (trust all) or nan
    (trust none) can come out.
    """
    counts = counts.cpu().double()
    half = counts.sum(1, keepdim=True) / 2
    left = torch.arange(BINS, dtype=torch.float64) / BINS
    steps = counts
    if running == "indices":
        # A bin is found from its left edge, which rounding puts into the bin before for 29, 57 and 58.
        found = (left * BINS).floor().expand_as(counts)
        steps, counts = found, counts.gather(1, found.long())
    before = steps.cumsum(1) - steps
    fits = (before < half) & (half <= before + counts)
    at = torch.where(fits.any(1), fits.int().argmax(1), BINS - 1).unsqueeze(1)
    median = left[at] + (half - before.gather(1, at)) / counts.gather(1, at) / BINS
    return torch.where(half > 0, median, lowest).clamp(min=lowest).squeeze(1)


@torch.no_grad()
def pseudo_labels(teacher: Tensor, labels: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Labels with the previous network's answers in the place of background (PLOP).

    teacher (N, O, h, w); labels (N, H, W), uint8; thresholds (C,). Where a label is below O, the answer takes its
    place, or void where the uncertainty reaches the threshold of the class that is answered. Returns the labels
    (N, H, W) and, per image, the share (N,) of those pixels that are not void now: what weighs its cross-entropy.
    """
    unsure, best = uncertainty(teacher, labels.shape[-2:], len(thresholds))
    free = labels < teacher.shape[1]
    sure = free & (unsure < thresholds.to(unsure.device)[best.long()])
    filled = torch.where(free, torch.where(sure, best, VOID), labels)
    trusted, asked = (pixels.sum((1, 2)).to(unsure) for pixels in (sure, free))
    return filled, trusted / (asked + 1e-6)
