"""Checkpoints of small untrained networks."""

from pathlib import Path

import torch

from dkd import checkpoint
from dkd.data import shapes, transforms
from dkd.model.segmenter import Segmenter
from tests.dkd.conftest import SPEC


def network(sizes: tuple[int, ...], seed: int = 0, spec: dict = SPEC) -> Segmenter:
    """Wide weights, so that predictions of all classes and of background occur."""
    torch.manual_seed(seed)
    model = Segmenter(spec, sizes).eval()
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=3)
        torch.nn.init.normal_(head.bias, std=2)
    return model


def save(folder: Path, order: tuple[int, ...], sizes: tuple[int, ...], seed: int = 0, spec: dict = SPEC) -> Path:
    """The checkpoint of such a network, which has learned labels of the data set shapes in this order."""
    folder.mkdir()
    step = checkpoint.Step("shapes", order, sizes, shapes.SHAPES, "dkd", 0, spec)
    checkpoint.save(network(sizes, seed, spec), step, {}, folder)
    return folder


def balance(folder: Path) -> None:
    """Change the biases of a checkpoint so that each class, and background, is found somewhere in noise."""
    model, step = checkpoint.load(folder, "cpu")
    pixels = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = model(transforms.normalise(pixels))
        others = [(model.unknown, output.unknown), (model.background, output.background)] if model.unknown else []
        logits = output.channels if model.head == "softmax" else output.scores
        means = logits.mean((0, 2, 3)).split([head.out_channels for head in model.heads])
        for head, mean in zip(model.heads, means, strict=True):
            head.bias -= mean
        for head, logit in others:
            # The two decide together.
            head.bias -= logit.mean() + 2
    checkpoint.save(model, step, {}, folder)
