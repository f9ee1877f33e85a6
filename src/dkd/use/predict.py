"""Labels one's own pictures with a checkpoint, ours or an imported one.

Large pictures are labelled in tiles that overlap. Knows nothing of data sets, truth or training.
"""

import csv
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
from dkd.data import classes, transforms
from dkd.errors import InputError
from dkd.use import images as photos
from dkd.use import overlay, palette
from dkd.use.images import Photo

TILE = 1024
"""Pixels; a picture that is higher or wider is labelled in tiles of this side."""
OVERLAP = 4
"""A tile shares a quarter of its side with the next; the border between the two runs through the middle."""
HEADER = ("picture", "label", "class", "pixels", "share")


class Predictor:
    """A checkpoint that labels pictures:

        predict = Predictor("checkpoints/last")
        labels = predict("photo.jpg")          # (H, W) uint8
        predict.names[labels[0, 0]]            # what the pixel in the corner shows

    `size`: shorter side in pixels that the network sees a picture at, its own by default; a network knows objects at
    the size that it was trained on. `tile`: the largest side that is labelled in one piece.
    Raises InputError where `checkpoint` is none or this machine lacks the device (auto, cpu or cuda).
    """

    def __init__(
        self,
        folder: Path | str,
        device: str = "auto",
        *,
        size: int | None = None,
        tile: int = TILE,
        threads: int | None = None,
    ):
        self.device = devices.accelerator(device, threads).device
        self.model, step = checkpoint.load(Path(folder), self.device)
        self.names = step.class_names
        """By label; 0 is the background."""
        self.labels = classes.id_to_label(step.order)
        """By id: what the network says to what the data set calls it."""
        self.colours = palette.colours(len(self.names))
        self.size, self.tile = size, tile

    def __call__(self, picture: Path | str | np.ndarray) -> np.ndarray:
        """Labels (H, W) uint8 of a file, or of RGB pixels (H, W, 3) uint8."""
        image = picture if isinstance(picture, np.ndarray) else photos.read(Path(picture))
        height, width = image.shape[:2]
        scale = self.size / min(height, width) if self.size else 1.0
        seen = image
        if scale != 1.0:
            sides = max(1, round(width * scale)), max(1, round(height * scale))
            seen = np.array(Image.fromarray(image).resize(sides, Image.Resampling.BILINEAR))
        labels = self.labels[self._ids(seen)]
        if scale != 1.0:
            labels = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
        return labels

    def _ids(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        ids = np.empty((height, width), dtype=np.uint8)
        for top, bottom, from_row, to_row in spans(height, self.tile):
            for left, right, from_column, to_column in spans(width, self.tile):
                piece = transforms.channels_first(np.ascontiguousarray(image[top:bottom, left:right]))
                hint = f"{right - left} x {bottom - top} pixels at once; take smaller tiles, or a CPU"
                with devices.explained(hint):
                    images = transforms.normalise(piece)[None].to(self.device)
                    found = evaluate.predict(self.model, images)[0].cpu().numpy()
                ids[from_row:to_row, from_column:to_column] = found[
                    from_row - top : to_row - top, from_column - left : to_column - left
                ]
        return ids


def spans(length: int, tile: int) -> list[tuple[int, int, int, int]]:
    """How `length` pixels are covered by tiles: (begin, end, begin and end of what is taken from it) of each.

    What is taken covers every pixel once. One tile where the length fits; else all are of `tile` pixels, and
    neighbours share at least a quarter of that.
    """
    if length <= tile:
        return [(0, length, 0, length)]
    count = 1 + -(-(length - tile) // max(1, tile - tile // OVERLAP))
    begins = [round(k * (length - tile) / (count - 1)) for k in range(count)]
    borders = [(begin + tile + next_) // 2 for begin, next_ in pairwise(begins)]
    taken = zip([0, *borders], [*borders, length], strict=True)
    return [(begin, begin + tile, *own) for begin, own in zip(begins, taken, strict=True)]


class Outcome(NamedTuple):
    """What came of labelling many pictures."""

    done: int
    broken: list[str]
    """One line each: which file, and what is wrong with it."""
    seconds: float
    pixels: int


class _Photos(Dataset):
    """Decoded pictures, or what is wrong with them."""

    def __init__(self, found: Sequence[Photo]):
        self.found = found

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, position: int) -> np.ndarray | str:
        try:
            return photos.read(self.found[position].path)
        except InputError as error:
            return str(error)


def write(predictor: Predictor, found: Sequence[Photo], out: Path, workers: int = 0) -> Outcome:
    """Label pictures into the folder `out`: masks/NAME.png, overlays/NAME.jpg, and areas.csv.

    A mask is an 8-bit palette PNG of the picture's size, upright, with the data set's labels. areas.csv has a row for
    every class that a picture shows, background included: its pixels, and their share in 0..1. A file that can't be
    read is passed over and told of in the outcome. Stopped half-way, what is done stays, and areas.csv speaks of it.
    """
    started = time.perf_counter()
    rows, broken, pixels = [], [], 0
    loader = DataLoader(_Photos(found), batch_size=None, num_workers=workers)
    colours = [value for colour in predictor.colours for value in colour]
    out.mkdir(parents=True, exist_ok=True)
    try:
        images = tqdm(loader, unit="image", desc="predict", disable=None, leave=False)
        for photo, image in zip(found, images, strict=True):
            if isinstance(image, str):
                broken.append(image)
                continue
            image = np.asarray(image)
            labels = predictor(image)
            mask = Image.fromarray(labels)
            mask.putpalette(colours)
            _save(mask, out / "masks" / f"{photo.name}.png")
            _save(
                overlay.draw(image, labels, predictor.names, predictor.colours), out / "overlays" / f"{photo.name}.jpg"
            )
            rows += _areas(str(photo.path), labels, predictor.names)
            pixels += labels.size
    finally:
        with (out / ".areas.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
        (out / ".areas.csv").replace(out / "areas.csv")
    return Outcome(len(found) - len(broken), broken, time.perf_counter() - started, pixels)


def _areas(picture: str, labels: np.ndarray, names: Sequence[str]) -> list[tuple]:
    counts = np.bincount(labels.ravel(), minlength=256)
    return [
        (picture, label, names[label], int(counts[label]), round(float(counts[label] / labels.size), 6))
        for label in np.flatnonzero(counts).tolist()
    ]


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}")
    image.save(scratch, quality=90)
    scratch.replace(path)
