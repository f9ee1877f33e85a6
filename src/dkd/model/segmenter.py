"""The network: backbone, ASPP decoder, one 1x1 classifier per step and the auxiliary classifier.

Knows nothing of losses, labels or methods. There is no background channel: background is where no class exceeds 0.5.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import ASPP

from dkd.data import transforms
from dkd.model import backbone


class Output(NamedTuple):
    """The network's output for a batch of N images of H x W pixels, on a grid of h x w cells."""

    features: Tensor
    """(N, D, h, w), not negative: input of the classifiers."""
    logits: tuple[Tensor, ...]
    """One (N, c_t, h, w) per step t."""
    auxiliary: Tensor
    """(N, 1, h, w), from detached features."""
    weights: tuple[Tensor, ...]
    """One (c_t, D) per step t: the classifiers' weights, for the decomposition."""
    size: tuple[int, int]
    """(H, W)."""

    @property
    def scores(self) -> Tensor:
        """(N, K, h, w): logits of all classes, in the order of their ids 1..K."""
        return torch.cat(self.logits, dim=1)


class Segmenter(nn.Module):
    """Backbone, ASPP and classifiers; `spec`: the values of `model:` in params.yaml, `sizes`: classes per step.

    If pretrained weights were made with another mean and standard deviation than ImageNet's, images are converted, and
    the attribute `spec` holds them as `mean` and `std`, so that a network built from it converts them as well.
    """

    def __init__(self, spec: dict, sizes: Sequence[int]):
        super().__init__()
        self.spec = dict(spec)
        width = spec["aspp_channels"]
        self.backbone, channels, self.multiple = backbone.build(
            spec["backbone"],
            pretrained=spec["pretrained"],
            output_stride=spec["output_stride"],
            norm_momentum=spec["norm_momentum"],
        )
        if spec["pretrained"]:
            mean, std = (tuple(self.backbone.pretrained_cfg[key]) for key in ("mean", "std"))
            if (mean, std) != (transforms.MEAN, transforms.STD):
                self.spec.update(mean=list(mean), std=list(std))
        factor, shift = _between(self.spec.get("mean"), self.spec.get("std"))
        self.register_buffer("factor", factor, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.aspp = ASPP(channels, spec["aspp_dilations"], width)
        self.aspp.project[3] = nn.Dropout(spec["dropout"])
        self.last_conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.auxiliary = nn.Conv2d(width, 1, 1)
        self.heads = nn.ModuleList(nn.Conv2d(width, size, 1) for size in sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Classes per step so far."""
        return tuple(head.out_channels for head in self.heads)

    def train(self, mode: bool = True) -> "Segmenter":
        """Training mode, except for a frozen backbone."""
        super().train(mode)
        if self.spec.get("frozen"):
            self.backbone.eval()
        return self

    def add_head(self, classes: int, *, from_auxiliary: bool) -> None:
        """Add a classifier for `classes` new classes.

        `from_auxiliary`: each starts as a copy of the auxiliary classifier (paper: initialisation), else at random by
        torch's default.
        """
        old = self.auxiliary
        head = nn.Conv2d(old.in_channels, classes, 1).to(old.weight)
        if from_auxiliary:
            with torch.no_grad():
                head.weight.copy_(old.weight.expand_as(head.weight))
                head.bias.copy_(old.bias.expand_as(head.bias))
        self.heads.append(head)

    def forward(self, images: Tensor) -> Output:
        """Images (N, 3, H, W), normalised (`transforms.normalise`), of any size -> Output."""
        size = tuple(images.shape[-2:])
        if self.factor is not None:
            images = images * self.factor + self.shift
        maps = backbone.features(self.backbone, self._fitted(images))
        features = self.last_conv(self.aspp(maps))
        return Output(
            features,
            tuple(head(features) for head in self.heads),
            self.auxiliary(features.detach()),
            tuple(head.weight.flatten(1) for head in self.heads),
            size,
        )

    def _fitted(self, images: Tensor) -> Tensor:
        """Images with sides that the backbone accepts: (N, 3, H, W) -> (N, 3, H', W'), the next multiples."""
        sides = tuple(-(-side // self.multiple) * self.multiple for side in images.shape[-2:])
        if sides == tuple(images.shape[-2:]):
            return images
        # Stretched, not padded: the output is upsampled to `size`, so the grid has to cover the image and nothing else.
        return F.interpolate(images, size=sides, mode="bilinear", align_corners=False)


def _between(mean: Sequence[float] | None, std: Sequence[float] | None) -> tuple[Tensor | None, Tensor | None]:
    """Factor and shift, (3, 1, 1) each, from ImageNet's mean and deviation to these; None if these are None."""
    if mean is None or std is None:
        return None, None
    pairs = [
        (old_std / new_std, (old - new) / new_std)
        for old, old_std, new, new_std in zip(transforms.MEAN, transforms.STD, mean, std, strict=True)
    ]
    factor, shift = (torch.tensor(values)[:, None, None] for values in zip(*pairs, strict=True))
    return factor, shift


def upsample(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (N, C, h, w) -> (N, C, H, W), bilinear, float32 at least."""
    grid = grid.float() if grid.dtype in (torch.float16, torch.bfloat16) else grid
    return F.interpolate(grid, size=size, mode="bilinear", align_corners=False)
