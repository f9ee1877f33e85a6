"""The values of a mask from the pixels that Pillow decodes. Opens no file."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from dkd.errors import InputError

SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes in which Pillow opens images of 16 bits per pixel."""


def gray_step(mask: Image.Image) -> int:
    """Difference of two stored values of a gray image in Pillow's pixels, which scales 2 and 4 bits up to 8."""
    args = mask.tile[0][3] if mask.tile else None
    found = re.match(r"L;([24])", args if isinstance(args, str) else str(args[0]) if args else "")
    return 255 // (2 ** int(found[1]) - 1) if found else 1


def decode(mask: Image.Image, step: int, colours: Mapping[int, int], path: Path) -> np.ndarray:
    """Values (H, W) uint8 of a decoded mask: those that `colours` has for its colours, or, where that is empty, stored.

    `step`: its `gray_step`. Raises InputError that names the file where a value is above 255 or a colour is not listed.
    """
    if colours:
        return decode_colours(_mask_colours(mask, path), colours, path, "the colours listed for the classes")
    if mask.mode in ("P", "L"):
        values = np.array(mask)
        return values if step == 1 else values // step
    if mask.mode == "1":
        return np.array(mask).astype(np.uint8)
    if mask.mode in SIXTEEN_BIT:
        wide = np.asarray(mask)
        strange = np.argwhere((wide < 0) | (wide > 255))
        if len(strange):
            y, x = strange[0]
            raise InputError(
                f"{path}: mask holds the value {wide[y, x]} (x {x}, y {y}); values are 0..255, so renumber the labels"
            )
        return wide.astype(np.uint8)
    raise InputError(
        f"{path}: mask is in colours (mode {mask.mode}), and none are listed; give each class its colour in "
        "classes.txt (`name r g b` on each line), or export masks as an 8-bit palette or gray PNG"
    )


def decode_colours(pixels: np.ndarray, colours: Mapping[int, int], path: Path, listed: str) -> np.ndarray:
    """Values (H, W) uint8 of RGB pixels (H, W, 3), by their colours 0xRRGGBB.

    Raises InputError that names the file and pixel where a colour is not among `colours`, which `listed` describes.
    """
    known = np.array(sorted(colours), dtype=np.uint32)
    wide = pixels.astype(np.uint32)
    code = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    at = np.searchsorted(known, code).clip(max=len(known) - 1)
    strange = np.argwhere(known[at] != code)
    if len(strange):
        y, x = strange[0]
        colour = ",".join(map(str, pixels[y, x]))
        raise InputError(
            f"{path}: colour {colour} (x {x}, y {y}; {len(strange)} pixels in all) is not in {listed}; add it there, "
            "or export masks without smoothing"
        )
    return np.array([colours[colour] for colour in known.tolist()], dtype=np.uint8)[at]


def _mask_colours(mask: Image.Image, path: Path) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 of a mask; what is transparent is black, as if it had not been painted."""
    if mask.mode in (*SIXTEEN_BIT, "F"):
        raise InputError(
            f"{path}: mask holds numbers (mode {mask.mode}), but classes.txt lists colours; export masks in these "
            "colours, or remove the colours from classes.txt"
        )
    if not mask.has_transparency_data:
        return np.array(mask.convert("RGB"))
    pixels = np.array(mask.convert("RGBA"))
    alpha = pixels[..., 3]
    partly = np.argwhere((alpha > 0) & (alpha < 255))
    if len(partly):
        y, x = partly[0]
        raise InputError(
            f"{path}: mask is partly transparent (alpha {alpha[y, x]} at x {x}, y {y}); export masks without smoothing"
        )
    return np.where(alpha[..., None] > 0, pixels[..., :3], 0).astype(np.uint8)
