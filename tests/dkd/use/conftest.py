"""Checkpoints of small untrained networks."""

from pathlib import Path

import torch

from dkd import checkpoint
from dkd.data import shapes
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
