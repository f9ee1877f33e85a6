"""What a user waits for: the help, and labelling four photos of 12 megapixels, with the start of the program.

The network is that of the preset `small`, untrained. Before, photos were labelled at their full size (`--size full`).
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import measure
from dkd import checkpoint
from dkd.config import read
from dkd.data.shapes import SHAPES
from dkd.model.segmenter import Segmenter

SIDES, PHOTOS, ROUNDS = (4000, 3000), 4, 2


def draw(root: Path) -> None:
    """Photos of blurred colours with noise, as JPEG."""
    random = np.random.default_rng(0)
    for i in range(PHOTOS):
        colours = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(SIDES)
        grain = random.integers(-12, 13, (*SIDES[::-1], 3))
        Image.fromarray((np.asarray(colours) + grain).clip(0, 255).astype(np.uint8)).save(root / f"{i}.jpg", quality=90)


def network(folder: Path) -> None:
    """An untrained checkpoint that has learned all shapes, as if trained on crops of the preset."""
    torch.manual_seed(0)
    recipe = read.recipe("small", [])
    spec, train, classes = recipe["model"].model_dump(), recipe["train"], len(SHAPES) - 1
    side = round(train.crop / train.scale[0] ** 0.5)
    step = checkpoint.Step("shapes", tuple(range(1, classes + 1)), (classes,), SHAPES, "joint", 0, spec, side=side)
    checkpoint.save(Segmenter({**spec, "pretrained": False}, (classes,)), step, {}, folder)


def seconds(*words: str | Path) -> float:
    """Of a call of Python: CPU time or wall clock, as in the other tables."""
    began, times = time.perf_counter(), os.times()
    subprocess.run([sys.executable, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    spent = after.children_user + after.children_system - times.children_user - times.children_system
    return spent if measure.alone() else time.perf_counter() - began


def main() -> None:
    measure.start()
    with tempfile.TemporaryDirectory() as folder:
        place, photos = Path(folder, "network"), Path(folder, "photos")
        place.mkdir(), photos.mkdir()
        draw(photos), network(place)
        out = Path(folder, "out")
        how = ("--out", out, "--device", "cpu", "--threads", torch.get_num_threads())
        label = ("-m", "dkd.cli", "predict", place, photos, *how)
        commands = {
            "help": ("-m", "dkd.cli", "--help"),
            "before": (*label, "--size", "full"),
            "dkd": label,
            "limit": ("-c", "import os, torch, torchvision, timm; os._exit(0)"),
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _, (name, words) in itertools.product(range(ROUNDS), commands.items()):
            taken[name].append(seconds(*words))
            shutil.rmtree(out, ignore_errors=True)
    measure.line("`dkd --help`", {"dkd": taken.pop("help")})
    measure.line(f"`dkd predict` of {PHOTOS} photos of 12 megapixels, with its start", taken)


if __name__ == "__main__":
    main()
