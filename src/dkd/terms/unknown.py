"""What SSUL adds to a sigmoid: a class for what is there but has no name yet, and labels from the previous network.

Channel 0 is the unknown class, 1 the background, 2 the class of id 1, and so on. Logits come on the grid of the
features, (N, C, h, w), and are meant at full size (H, W), upsampled bilinearly.
"""

import torch
from torch import Tensor

from dkd import losses
from dkd.data.classes import VOID
from dkd.terms import bands


def relabel(labels: Tensor, salient: Tensor | bool) -> Tensor:
    """Ids (N, H, W), 255 void -> channels (N, H, W): background that is `salient` becomes unknown.

    salient: (N, H, W) bool, or True where there are no saliency maps and all background is unknown.
    """
    shifted = torch.where(labels == VOID, VOID, labels + 1)
    return torch.where((labels == 0) & salient, 0, shifted)


@torch.no_grad()
def pseudo_labels(labels: Tensor, teacher: Tensor, threshold: float) -> Tensor:
    """Channels (N, H, W) with the previous network's confident answers in the place of unknown and background.

    teacher (N, O, h, w): of its sigmoids the highest answers, where it is a class and reaches the threshold.
    """
    upsampled = bands.Upsampled(teacher, labels.shape[-2:])
    filled = labels.clone()
    for part in upsampled.parts():
        score, best = upsampled[part].sigmoid_().max(1)
        sure = (labels[part] <= 1) & (best > 1) & (score >= threshold)
        filled[part] = torch.where(sure, best.to(labels), labels[part])
    return filled


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of all channels, summed over them; mean over pixels that are not void.

    logits (N, C, h, w); labels: channels (N, H, W). Scalar; 0 where all is void.
    """
    known = (labels != VOID).sum().clamp(min=1)
    return losses.mbce(logits, losses.Target(labels, 0, 1.0, "ignore", None)) * labels.numel() / known


@torch.no_grad()
def decide(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Ids (N, H, W) uint8 of logits (N, C, h, w): the highest sigmoid, where the unknown's is added to background's."""
    upsampled = bands.Upsampled(logits, size)
    ids = torch.empty((len(logits), *size), dtype=torch.uint8, device=logits.device)
    for part in upsampled.parts():
        scores = upsampled[part].sigmoid_()
        scores[:, 1] += scores[:, 0]
        ids[part] = scores[:, 1:].argmax(1)
    return ids
