"""Labels a user's own images with a checkpoint, trained here or imported.

Large images are labelled in overlapping tiles. Knows nothing of data sets, ground truth or training.
"""

import csv
import shutil
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from dkd import checkpoint, devices, evaluate
from dkd.data import classes, reader, transforms
from dkd.errors import InputError
from dkd.files import replacing
from dkd.use import images, overlay, palette
from dkd.use.images import ImageFile

OVERLAP = 4
"""Neighbouring tiles share a quarter of their side; the labels change from one to the other in the middle of that."""
HEADER = ("picture", "label", "class", "pixels", "share")


class Predictor:
    """A checkpoint that labels images:

        predict = Predictor("checkpoints/last", device="auto", size=None, tile=1024, threads=1)
        labels = predict("photo.jpg")          # (H, W) uint8
        predict.names[labels[0, 0]]            # class of the upper left pixel

    `device`: auto, cpu or cuda; `threads`: on a CPU. `size`: length in pixels to which the shorter side is scaled
    before the network sees the image, or None; networks recognise objects at the scale of their training images.
    `tile`: largest side in pixels that is labelled in one piece. Raises InputError if `folder` is not a checkpoint or
    the device is not available.
    """

    def __init__(self, folder: Path | str, device: str, *, size: int | None, tile: int, threads: int):
        self.device = devices.accelerator(device, threads, "fp32").device
        self.model, step = checkpoint.load(Path(folder), self.device)
        self.names = step.class_names
        """Class names by label; 0 is background."""
        self.labels = classes.id_to_label(step.order)
        """Labels by the ids that the network predicts."""
        self.colours = palette.colours(len(self.names))
        self.size, self.tile = size, tile

    def __call__(self, image: Path | str | np.ndarray) -> np.ndarray:
        """Labels (H, W) uint8 of an image file, or of RGB pixels (H, W, 3) uint8."""
        pixels = image if isinstance(image, np.ndarray) else reader.read_image(Path(image))
        height, width = pixels.shape[:2]
        seen = pixels if self.size is None else images.scaled(pixels, self.size / min(height, width))
        labels = self.labels[self._ids(seen)]
        if labels.shape != (height, width):
            labels = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
        return labels

    def _ids(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        ids = np.empty((height, width), dtype=np.uint8)
        for top, bottom, from_row, to_row in spans(height, self.tile):
            for left, right, from_column, to_column in spans(width, self.tile):
                tile = transforms.channels_first(np.ascontiguousarray(image[top:bottom, left:right]))
                hint = f"{right - left} x {bottom - top} pixels at once; use smaller tiles, or a CPU"
                with devices.explained(hint):
                    batch = transforms.normalise(tile)[None].to(self.device)
                    found = evaluate.predict(self.model, batch)[0].cpu().numpy()
                ids[from_row:to_row, from_column:to_column] = found[
                    from_row - top : to_row - top, from_column - left : to_column - left
                ]
        return ids


def spans(length: int, tile: int) -> list[tuple[int, int, int, int]]:
    """Tiles that cover `length` pixels, as (begin, end, first and last + 1 of the pixels taken from the tile).

    Every pixel is taken from exactly one tile. If `length` is at most `tile`, there is one tile; otherwise all have
    `tile` pixels, and neighbours share at least a quarter of that.
    """
    if length <= tile:
        return [(0, length, 0, length)]
    count = 1 + -(-(length - tile) // max(1, tile - tile // OVERLAP))
    begins = [round(k * (length - tile) / (count - 1)) for k in range(count)]
    borders = [(begin + tile + next_) // 2 for begin, next_ in pairwise(begins)]
    taken = zip([0, *borders], [*borders, length], strict=True)
    return [(begin, begin + tile, *own) for begin, own in zip(begins, taken, strict=True)]


class Outcome(NamedTuple):
    """Summary of labelling many images."""

    done: int
    broken: list[str]
    """One line per file that could not be read: the file and the reason."""
    seconds: float
    pixels: int


class _Decoded(Dataset):
    """Pixels of image files, or the reason why one cannot be read."""

    def __init__(self, files: Sequence[ImageFile]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> np.ndarray | str:
        try:
            return reader.read_image(self.files[position].path)
        except InputError as error:
            return str(error)


def write(predictor: Predictor, files: Sequence[ImageFile], out: Path, workers: int) -> Outcome:
    """Label images into the folder `out`: masks/NAME.png, overlays/NAME.jpg and areas.csv.

    A mask is an 8-bit palette PNG with the size of the upright image; its values are the labels of the data set.
    areas.csv has one row per image and class in it, background included, with the number of pixels and their share
    (0..1). Files that cannot be read are skipped and listed in the outcome. If interrupted, finished images stay and
    areas.csv lists them; if there are none, `out` is removed. `workers`: processes that decode images.
    """
    started = time.perf_counter()
    rows, broken, pixels = [], [], 0
    loader = DataLoader(_Decoded(files), batch_size=None, num_workers=workers, worker_init_fn=devices.outlive)
    colours = [value for colour in predictor.colours for value in colour]
    new, finished = not out.exists(), False
    out.mkdir(parents=True, exist_ok=True)
    try:
        decoded = tqdm(loader, unit="image", desc="predict", disable=None, leave=False)
        for file, image in zip(files, decoded, strict=True):
            if isinstance(image, str):
                broken.append(image)
                continue
            image = np.asarray(image)
            labels = predictor(image)
            mask = Image.fromarray(labels)
            mask.putpalette(colours)
            shown = overlay.draw(image, labels, predictor.names, predictor.colours)
            _save(mask, out / "masks" / f"{file.name}.png")
            _save(shown, out / "overlays" / f"{file.name}.jpg")
            rows += _areas(file.path, labels, predictor.names)
            pixels += labels.size
        finished = True
    finally:
        if not rows and not finished and new:
            shutil.rmtree(out, ignore_errors=True)
        else:
            _write_areas(rows, out)
    return Outcome(len(files) - len(broken), broken, time.perf_counter() - started, pixels)


def _write_areas(rows: list[tuple], out: Path) -> None:
    with replacing(out / "areas.csv") as scratch, scratch.open("w", newline="", encoding="utf-8") as table:
        csv.writer(table, lineterminator="\n").writerows([HEADER, *rows])


def _areas(path: Path, labels: np.ndarray, names: Sequence[str]) -> list[tuple]:
    counts = np.bincount(labels.ravel(), minlength=256)
    return [
        (str(path), label, names[label], int(counts[label]), round(float(counts[label] / labels.size), 6))
        for label in np.flatnonzero(counts).tolist()
    ]


def _save(image: Image.Image, path: Path) -> None:
    with replacing(path) as scratch:
        image.save(scratch, quality=90)
