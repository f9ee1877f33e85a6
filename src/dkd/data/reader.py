"""Reads one image or one mask from disk.

Knows nothing of splits, steps or transforms. Images are converted to RGB; masks hold the values that are stored. EXIF
orientation is ignored, since masks are drawn on the stored pixels.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dkd.errors import InputError


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header of an image file, without decoding its pixels."""
    with _opened(path, "image") as image:
        return image.height, image.width


def read_image(path: Path) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8. Raises InputError that names the file where it is missing or damaged."""
    with _opened(path, "image") as image:
        return _decoded(path, "image", image, "RGB")


def read_mask(path: Path) -> np.ndarray:
    """Stored values (H, W) uint8 of an 8-bit palette or grayscale PNG. Raises InputError that names the file."""
    with _opened(path, "mask") as mask:
        if mask.mode not in ("P", "L"):
            raise InputError(f"{path}: mask has mode {mask.mode}; labels are stored as an 8-bit palette or gray PNG")
        return _decoded(path, "mask", mask, mask.mode)


def _opened(path: Path, kind: str) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise InputError(f"{path}: {kind} is missing") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(f"{path}: {kind} can't be read ({reason})") from None


def _decoded(path: Path, kind: str, image: Image.Image, mode: str) -> np.ndarray:
    try:
        return np.array(image if image.mode == mode else image.convert(mode))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: {kind} can't be decoded ({error})") from None
