"""Turns an image in any form that Python programs hand around into RGB pixels. Knows nothing of networks and labels."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dkd.data import reader
from dkd.errors import InputError

Picture = Path | str | Image.Image | np.ndarray | Tensor
"""A file, an image of Pillow, an array (H, W, 3) or (H, W), or a tensor (3, H, W) or (H, W).

Arrays and tensors hold uint8 (0..255) or floating-point values (0..1).
"""


def is_batch(images: Picture | list[Picture] | tuple[Picture, ...]) -> bool:
    """Whether these are several images: a list, a tuple, or an array or tensor with one more dimension in front."""
    return isinstance(images, list | tuple) or (isinstance(images, np.ndarray | Tensor) and images.ndim == 4)


def rgb(image: Picture) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 of one image; floating-point values are rounded to 8 bits.

    Raises InputError where a file cannot be read, or a type, a shape or a value is not one of an image.
    """
    if isinstance(image, Path | str):
        return reader.read_image(Path(image))
    if isinstance(image, Image.Image):
        try:
            return reader.pixels(image)
        except ValueError as error:
            raise InputError(f"image of Pillow: {error}") from None
    if isinstance(image, Tensor):
        shape = tuple(image.shape)
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 3):
            raise InputError(f"tensor of shape {shape}: an image is (3, height, width), or (height, width)")
        values = image.detach().cpu()
        values = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
        return _as_uint8(values.movedim(0, -1).numpy() if len(shape) == 3 else values.numpy(), "tensor")
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise InputError(f"array of shape {image.shape}: an image is (height, width, 3), or (height, width)")
        return _as_uint8(image, "array")
    raise InputError(
        f"{type(image).__name__} is no image; give a path, an image of Pillow, an array, a tensor, or a list of these"
    )


def _as_uint8(values: np.ndarray, kind: str) -> np.ndarray:
    """(H, W, 3) or (H, W) -> (H, W, 3) uint8, contiguous."""
    if not values.size:
        raise InputError(f"{kind} of shape {values.shape}: has no pixels")
    if values.dtype.kind == "f":
        # Written so that NaN is refused, too.
        if not (values.min() >= 0 and values.max() <= 1):
            raise InputError(
                f"{kind} of {values.dtype}: holds {values.min():.4g}..{values.max():.4g}, but floating-point pixels "
                "are 0..1, not normalised; divide by 255, or convert to uint8"
            )
        values = (values * 255).round().astype(np.uint8)
    elif values.dtype != np.uint8:
        raise InputError(f"{kind} of {values.dtype}: pixels are uint8 (0..255) or floating-point (0..1); convert it")
    return np.ascontiguousarray(values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=-1))
