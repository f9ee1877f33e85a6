"""The network: backbone, ASPP decoder, one 1x1 classifier per step and the auxiliary classifier.

Knows nothing of losses, labels or methods. With sigmoids there is no background channel: background is where no class
exceeds 0.5. With a softmax the first classifier has a row for background, before those of its classes. A network with
an unknown class has classifiers of their own for it and for background.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import ASPP

from dkd.data import transforms
from dkd.errors import InputError
from dkd.model import backbone, starts


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
    background: Tensor | None = None
    """(N, 1, h, w), the background's logit, with a softmax or an unknown class."""
    backbone: Tensor | None = None
    """(N, C, h, w): the backbone's output, if a method requests it (`Segmenter.expose`)."""
    stages: tuple[Tensor, ...] = ()
    """The outputs of the backbone's stages before their last activation, if a method requests them."""
    activated: tuple[Tensor, ...] = ()
    """The same after it."""
    unknown: Tensor | None = None
    """(N, 1, h, w), the logit of what is unknown, if the network has one."""
    biases: tuple[Tensor, ...] = ()
    """One (c_t,) per step t: the classifiers' biases."""

    @property
    def channels(self) -> Tensor:
        """(N, C, h, w): logits of all that a pixel can be: with a softmax of background and all classes, by their ids
        0..K; with an unknown class of this one, background and all classes.
        """
        rest = [logit for logit in (self.unknown, self.background) if logit is not None]
        return torch.cat((*rest, *self.logits), dim=1)

    @property
    def scores(self) -> Tensor:
        """(N, K, h, w): logits of all classes, in the order of their ids 1..K."""
        return torch.cat(self.logits, dim=1)


class Segmenter(nn.Module):
    """Backbone, ASPP and classifiers; `spec`: the values of `model:` in params.yaml, `sizes`: classes per step.

    `spec` has a `head`: with `sigmoid`, the default, each class has one; with `softmax` all share one with background;
    with `unknown` classes, background and what is unknown have a sigmoid each.
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
        self.head = spec.get("head", "sigmoid")
        rows = [size + (self.head == "softmax" and not step) for step, size in enumerate(sizes)]
        self.heads = nn.ModuleList(nn.Conv2d(width, size, 1) for size in rows)
        self.background = nn.Conv2d(width, 1, 1) if self.head == "unknown" else None
        self.unknown = nn.Conv2d(width, 1, 1) if self.head == "unknown" else None
        self._exposed: tuple[str, ...] = ()
        self._stages: list[Tensor] = []
        self._activated: list[Tensor] = []

    @property
    def sizes(self) -> tuple[int, ...]:
        """Classes per step so far."""
        first, *later = (head.out_channels for head in self.heads)
        return first - (self.head == "softmax"), *later

    def train(self, mode: bool = True) -> "Segmenter":
        """Training mode, except for a frozen backbone."""
        super().train(mode)
        if self.spec.get("frozen"):
            self.backbone.eval()
        return self

    def expose(self, names: Sequence[str]) -> None:
        """Let every Output from now on hold intermediate maps: `backbone`, `stages`, `activated` (fields of Output).

        Raises InputError where the backbone has no such maps.
        """
        self._exposed = tuple(names)
        for activation in backbone.last_activations(self.backbone) if {"stages", "activated"} & set(names) else ():
            if "stages" in names:
                # A copy, because the activation works in place.
                activation.register_forward_pre_hook(lambda module, given: self._stages.append(given[0].clone()))
            if "activated" in names:
                activation.register_forward_hook(lambda module, given, found: self._activated.append(found))

    def add_head(self, classes: int, init: str) -> None:
        """Add a classifier for `classes` new classes; `init`: what it starts from (`starts.STARTS`).

        With `background` the background's bias is lowered. Raises InputError where this head has no such start.
        """
        if self.head not in starts.STARTS.get(init, ()):
            known = ", ".join(word for word, heads in starts.STARTS.items() if self.head in heads)
            raise InputError(f"methods: start: {init!r} does not fit the head {self.head}; known: {known}")
        old, first = self.auxiliary, self.heads[0]
        head = nn.Conv2d(old.in_channels, classes, 1).to(old.weight)
        with torch.no_grad():
            if init == "auxiliary":
                head.weight.copy_(old.weight.expand_as(head.weight))
                head.bias.copy_(old.bias.expand_as(head.bias))
            elif init == "background":
                weight, bias, lowered = starts.from_background(first.weight[0], first.bias[0], classes)
                head.weight.copy_(weight)
                head.bias.copy_(bias)
                first.bias[0] = lowered
            elif init == "background-row":
                head.weight.copy_(starts.from_background_row(first.weight[0], classes))
            elif init == "unknown":
                weight, bias = starts.from_unknown(self.unknown.weight[0], self.unknown.bias[0], classes)
                head.weight.copy_(weight)
                head.bias.copy_(bias)
            elif init == "normal":
                nn.init.kaiming_normal_(head.weight)
        self.heads.append(head)

    def forward(self, images: Tensor) -> Output:
        """Images (N, 3, H, W), normalised (`transforms.normalise`), of any size -> Output."""
        self._forget()
        scaled = images if self.factor is None else images * self.factor + self.shift
        return self.decode(backbone.features(self.backbone, self._fitted(scaled)), tuple(images.shape[-2:]))

    def decode(self, maps: Tensor, size: tuple[int, int]) -> Output:
        """The backbone's output (N, C, h, w) for images of `size` (H, W) -> Output.

        A step that keeps the backbone frozen has one for the network and its teacher.
        """
        features = self.last_conv(self.aspp(maps))
        logits, weights = [head(features) for head in self.heads], [head.weight.flatten(1) for head in self.heads]
        # Views, as the weights are: DDP expects no parameter itself in an output.
        biases = [head.bias.view(-1) for head in self.heads]
        output = Output(features, tuple(logits), self.auxiliary(features.detach()), tuple(weights), size)
        if self.head == "softmax":
            output = output._replace(background=logits[0][:, :1], logits=(logits[0][:, 1:], *logits[1:]))
            output = output._replace(weights=(weights[0][1:], *weights[1:]))
            biases[0] = biases[0][1:]
        elif self.head == "unknown":
            output = output._replace(background=self.background(features), unknown=self.unknown(features))
        exposed = {"backbone": maps, "stages": tuple(self._stages), "activated": tuple(self._activated)}
        self._forget()
        return output._replace(biases=tuple(biases), **{name: exposed[name] for name in self._exposed})

    def _forget(self) -> None:
        self._stages.clear()
        self._activated.clear()

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
