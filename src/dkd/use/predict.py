"""Labels a user's own images with a checkpoint, trained here or imported.

Large images are labelled in overlapping tiles. Knows nothing of data sets, ground truth or training.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dkd import checkpoint, devices, evaluation
from dkd.data import classes, transforms
from dkd.errors import InputError, shown
from dkd.model.segmenter import upsample
from dkd.use import evidence, overlay, palette, pixels
from dkd.use import images as photos
from dkd.use.pixels import Picture

OVERLAP = 4
"""Neighbouring tiles share a quarter of their side; the labels change from one to the other in the middle of that."""


class Evidence(NamedTuple):
    """What speaks for a class and against it at every pixel of an image; z = z+ + z- + bias."""

    positive: np.ndarray
    """z+ (H, W) float32, not negative."""
    negative: np.ndarray
    """z- (H, W) float32, not positive."""
    logit: np.ndarray
    """z (H, W) float32."""


class Predictor:
    """A checkpoint that labels images (`dkd.load`; docs/python.md).

        predict = dkd.load("checkpoints/last")
        labels = predict("photo.jpg")                 # (H, W) uint8
        predict.names[labels[0, 0]]                   # class of the upper left pixel

    An image is a path, an image of Pillow, an array (H, W, 3), or a tensor (3, H, W); arrays and tensors hold uint8
    (0..255) or floating-point values (0..1), gray ones are (H, W). A list of images gives a list of results; an array
    (N, H, W, 3) or a tensor (N, 3, H, W) gives one array for all. Images of one size pass the network together.

    `device`: auto, cpu, cuda or mps; `threads`: on a CPU. `size`: length in pixels to which the shorter side is scaled
    before the network sees the image, since networks recognise objects at the scale of their training images; None:
    images that are larger than any the network was trained on are scaled down to those, where the checkpoint tells;
    "full": none is scaled. `tile`: largest side in pixels that is labelled in one piece. Raises InputError if `folder`
    is not a checkpoint, the size is not one, or the device is not available; the methods raise it for what is not an
    image, and where memory is too small.
    """

    def __init__(self, folder: Path | str, device: str, *, size: int | str | None, tile: int, threads: int):
        if size != photos.FULL and not (size is None or (isinstance(size, int) and size > 0)):
            raise InputError(f"size: {shown(size)} is neither a positive number of pixels nor {photos.FULL!r}")
        self.device = devices.accelerator(device, threads, "fp32").device
        self.folder = Path(folder)
        self.model, self.step = checkpoint.load(self.folder, self.device)
        self.names = self.step.class_names
        """Class names by label; 0 is background."""
        self.learned = tuple(checkpoint.names(self.step)[1:])
        """Names of the classes that the network knows, in the order of learning, which is that of the scores."""
        self.labels = classes.id_to_label(self.step.order)
        """Labels by the ids that the network predicts."""
        self.colours = palette.colours(len(self.names))
        self.size, self.tile = size, tile

    @overload
    def __call__(self, images: Picture) -> np.ndarray: ...
    @overload
    def __call__(self, images: Sequence[Picture]) -> list[np.ndarray]: ...
    def __call__(self, images):
        """Labels (H, W) uint8 of an image: those of the data set, by which `names` is ordered."""
        return self._each(images, lambda batch: evaluation.predict(self.model, batch), lambda ids: self.labels[ids])

    @overload
    def scores(self, images: Picture) -> np.ndarray: ...
    @overload
    def scores(self, images: Sequence[Picture]) -> list[np.ndarray]: ...
    def scores(self, images):
        """Probability of each learned class at each pixel, (K, H, W) float32, in the order of `learned`.

        The classes have a sigmoid each, or a softmax that they share with background, which has the rest. Without a
        softmax and an unknown class, pixels where no score exceeds 0.5 are background.
        """
        return self._each(images, self._probabilities, lambda scores: scores)

    @overload
    def evidence(self, images: Picture, name: str) -> Evidence: ...
    @overload
    def evidence(self, images: Sequence[Picture], name: str) -> list[Evidence]: ...
    def evidence(self, images, name):
        """Positive and negative evidence for the class `name`, and its logit. InputError if it is not learned."""
        channel = evidence.channel(self.step, name, self.folder)

        def terms(batch: Tensor) -> Tensor:
            output = self.model(batch)
            return upsample(evidence.terms(output, channel), output.size)

        return self._each(images, terms, lambda found: Evidence(*np.moveaxis(found, -3, 0)))

    def overlay(self, image: Picture, labels: np.ndarray) -> Image.Image:
        """The image with the classes of its `labels` (H, W) in colour, and a legend."""
        return overlay.draw(pixels.rgb(image), labels, self.names, self.colours)

    def _probabilities(self, batch: Tensor) -> Tensor:
        output = self.model(batch)
        if self.model.head == "softmax":
            return upsample(output.channels, output.size).softmax(1)[:, 1:]
        return upsample(output.scores, output.size).sigmoid()

    @torch.no_grad()
    def _each(self, images, compute: Callable[[Tensor], Tensor], finish: Callable[[np.ndarray], Any]) -> Any:
        """What `compute` makes of normalised images (N, 3, H, W), at the full size of each, after `finish`."""
        several = pixels.is_batch(images)
        found = [pixels.rgb(image) for image in (images if several else [images])]
        results: list[Any] = [None] * len(found)
        for shape in dict.fromkeys(image.shape for image in found):
            places = [place for place, image in enumerate(found) if image.shape == shape]
            together = self._full_size(np.stack([found[place] for place in places]), compute)
            if several and not isinstance(images, list | tuple):
                return finish(together)
            for place, result in zip(places, together, strict=True):
                results[place] = finish(result)
        return results if several else results[0]

    def _full_size(self, stack: np.ndarray, compute: Callable[[Tensor], Tensor]) -> np.ndarray:
        """RGB pixels (N, H, W, 3) -> what `compute` makes of them, (N, ..., H, W), seen at the wanted size."""
        height, width = stack.shape[1:3]
        shorter = min(height, width)
        wanted = shorter if self.size == photos.FULL else self.size or min(shorter, self.step.side or shorter)
        if wanted == shorter:
            return self._tiled(stack, compute)
        scale = wanted / shorter
        found = self._tiled(np.stack([photos.scaled(image, scale) for image in stack]), compute)
        if found.shape[-2:] == (height, width):
            return found
        if found.dtype == np.uint8:
            sized = [Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST) for ids in found]
            return np.stack([np.asarray(ids) for ids in sized])
        return upsample(torch.from_numpy(found), (height, width)).numpy()

    def _tiled(self, stack: np.ndarray, compute: Callable[[Tensor], Tensor]) -> np.ndarray:
        count, height, width = stack.shape[:3]
        whole = None
        for top, bottom, from_row, to_row in spans(height, self.tile):
            for left, right, from_column, to_column in spans(width, self.tile):
                tile = torch.stack([transforms.channels_first(image) for image in stack[:, top:bottom, left:right]])
                some = f"{count} images of " if count > 1 else ""
                hint = f"{some}{right - left} x {bottom - top} pixels at once; use smaller tiles, or a CPU"
                with devices.explained(hint):
                    found = compute(transforms.normalise(tile).to(self.device)).cpu().numpy()
                if whole is None:
                    whole = np.empty((*found.shape[:-2], height, width), dtype=found.dtype)
                whole[..., from_row:to_row, from_column:to_column] = found[
                    ..., from_row - top : to_row - top, from_column - left : to_column - left
                ]
        return whole


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
