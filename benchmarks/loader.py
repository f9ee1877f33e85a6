"""One training sample: decode, crop 512, flip, mask labels, normalise; and images per second with workers and cache."""

import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import RandomResizedCrop

from benchmarks import measure
from dkd import seeds
from dkd.config.schema import Train
from dkd.data import classes, transforms
from dkd.data.classes import Encoding
from dkd.data.index import Row
from dkd.training.data import Batches, Sample, Samples
from dkd.training.recipe import Recipe

IMAGES, CLASSES, RUN = 64, 20, 8
RECIPE = Recipe(
    **{**Train().model_dump(), "batch": 16, "scale": (0.5, 2.0)},
    epochs=1,
    lr=0.001,
    head_lr=10.0,
    weight_decay=0.0,
    pos_weight=1.0,
    seed=0,
    loss_options={},
    head_init="random",
    replay=None,
    rates={},
    train_norms=False,
    frozen=None,
)
ENCODING = Encoding(frozenset(classes.known_values({}, CLASSES + 1)), {})
TABLE = classes.label_to_id(range(1, CLASSES + 1), range(16, CLASSES + 1), rest=0)


def draw(root: Path) -> list[Row]:
    """Images of the usual size in VOC: blurred colours with noise, JPEG of quality 90; masks of blobs."""
    random, rows = np.random.RandomState(0), []
    for i in range(IMAGES):
        colours = Image.fromarray(random.randint(0, 256, (12, 16, 3), dtype=np.uint8))
        pixels = np.asarray(colours.resize((500, 375), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = random.randint(-12, 13, pixels.shape)
        Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(root / f"{i}.jpg", quality=90)
        blobs = Image.fromarray(random.choice([0, 0, 0, 5, 16, 18, 255], (6, 8)).astype(np.uint8))
        blobs.resize((500, 375), Image.Resampling.NEAREST).save(root / f"{i}.png")
        rows.append(Row(str(i), f"{i}.jpg", f"{i}.png", "train", (5, 16, 18)))
    return rows


def per_pixel(mask: np.ndarray) -> np.ndarray:
    """Labels that the step may not see become 0, by one Python call per pixel."""
    known = {label: label for label in range(16, CLASSES + 1)} | {255: 255}
    return np.vectorize(lambda label: known.get(label, 0))(mask)


def textbook(root: Path, row: Row, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The reference: Pillow, and `per_pixel`."""
    image, mask = Image.open(root / row.image).convert("RGB"), Image.open(root / row.mask)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        top, left, height, width = RandomResizedCrop.get_params(image, RECIPE.scale, RECIPE.ratio)
        mirrored = bool(torch.rand(()) < RECIPE.flip)
    box, size = (left, top, left + width, top + height), (RECIPE.crop, RECIPE.crop)
    image = image.crop(box).resize(size, Image.Resampling.BILINEAR)
    mask = mask.crop(box).resize(size, Image.Resampling.NEAREST)
    if mirrored:
        image, mask = (x.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for x in (image, mask))
    labels = torch.from_numpy(per_pixel(np.array(mask)))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(x)[:, None, None] for x in (transforms.MEAN, transforms.STD))
    return (pixels - mean) / std, labels


def shown(root: Path, rows: list[Row]) -> list[Sample]:
    visible = tuple(range(16, CLASSES + 1))
    return [Sample(row.id, root / row.image, root / row.mask, ENCODING, TABLE, visible) for row in rows]


def build(root: Path, rows: list[Row]) -> dict[str, Callable[[int], tuple[torch.Tensor, torch.Tensor]]]:
    """Functions that return the i-th sample; all draw the same crops."""
    plain, cached = (Samples(shown(root, rows), RECIPE, 1, megabytes) for megabytes in (0, 100))

    def sample(samples: Samples, i: int):
        image, labels = samples[(0, i % IMAGES)]
        return transforms.normalise(image), labels

    def pillow(i: int):
        row = rows[i % IMAGES]
        return textbook(root, row, seeds.derive(0, 1, 0, row.id))

    return {
        "per-pixel mapping": pillow,
        "dkd": functools.partial(sample, plain),
        "dkd, decoded images cached": functools.partial(sample, cached),
    }


def one(root: Path, rows: list[Row]) -> measure.Variants:
    """A second sample; the first one loads code and, with a cache, allocates its memory."""
    ways = build(root, rows)
    for way in ways.values():
        way(0)
    return {name: functools.partial(way, 0) for name, way in ways.items()}


def measure_runs(work: dict[str, Callable[[int], object]]) -> dict[str, list[float]]:
    """Seconds per sample in each round of `RUN` samples, so that code and memory are in the processor caches."""
    order = itertools.count()

    def run(way):
        for _ in range(RUN):
            way(next(order))

    runs = {name: functools.partial(run, way) for name, way in work.items()}
    return {name: [taken / RUN for taken in each] for name, each in measure.rounds(runs, 60).items()}


def main() -> None:
    torch.set_num_threads(1)
    measure.start()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = draw(root)
        ways = build(root, rows)
        level, moved = 0.0, 0
        for i in range(IMAGES):
            (image, labels), (ours, found) = ways["per-pixel mapping"](i), ways["dkd, decoded images cached"](i)
            level = max(level, ((image - ours).abs().amax((1, 2)) * torch.tensor(transforms.STD) * 255).max().item())
            moved += int((labels != found).sum())
        print(f"largest difference from Pillow: image {level:.3f} of 255 levels, mask {moved} pixels")
        images = shown(root, rows)
        files = Samples(images, RECIPE, 1, 0).files
        taken = measure_runs({**ways, "limit": lambda i: files[i % IMAGES]})
        timed = measure.medians(taken)
        limit = timed.pop("limit")
        base = timed["per-pixel mapping"]
        lines = [
            (name, taken * 1e3, 1 / taken, base / taken, measure.peak(one, name, root, rows))
            for name, taken in timed.items()
        ]
        head = ("ms", "per second", "times faster", "peak MB")
        measure.table(("one sample, 500 x 375 to 512 x 512", *head), lines)
        plain, decoded, cached = (taken[name] for name in ways)
        measure.line("one training sample, crop 512", {"plain": plain, "dkd": decoded, "limit": [limit]})
        measure.line("the same, decoded images cached", {"plain": plain, "dkd": cached})

        image, mask = files[0]
        crop = {key: getattr(RECIPE, key) for key in ("crop", "scale", "ratio", "flip")}
        full = np.array(Image.fromarray(mask).resize((RECIPE.crop, RECIPE.crop), Image.Resampling.NEAREST))
        parts = measure_runs(
            {
                "a Python call per pixel": lambda i: per_pixel(full),
                "dkd: decode image and mask": lambda i: files[i % IMAGES],
                "dkd: crop, resize, flip": lambda i: transforms.train_sample(image, mask, TABLE, seed=i, **crop),
            }
        )
        measure.table(("of which", "ms"), [(name, taken * 1e3) for name, taken in measure.medians(parts).items()])

        speed = {}
        for workers in (0, 1, 2):
            for cached in (0, 100):
                way = f"{workers} workers, {'cached' if cached else 'decoded each time'}"
                speed[way] = fed(Samples(images, RECIPE._replace(epochs=9), 1, cached), workers)
        first = next(iter(speed.values()))
        lines = [(way, each, each / max(int(way[0]), 1), each / first) for way, each in speed.items()]
        measure.table(("through the loader, batch 16", "images/s", "per worker", "times faster"), lines)


def fed(samples: Samples, workers: int) -> float:
    """Images per second, the median over all epochs but the first, which fills the cache."""
    batches = Batches(IMAGES, samples.recipe, 1, RECIPE.batch, 0, 1)
    gpu = measure.DEVICE.type == "cuda"
    loader, ends = iter(DataLoader(samples, batch_sampler=batches, num_workers=workers, pin_memory=gpu)), []
    for _ in range(samples.recipe.epochs):
        for _ in range(IMAGES // RECIPE.batch):
            next(loader)
        ends.append(time.perf_counter())
    return IMAGES / statistics.median(late - early for early, late in itertools.pairwise(ends))


if __name__ == "__main__":
    main()
