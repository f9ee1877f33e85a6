"""Reads one image or one mask from disk, the same way for training, evaluation and use.

Images come upright, as their EXIF orientation says, and as 8-bit RGB whatever the file holds. Masks come upright too,
as the values that are stored. Knows nothing of splits, steps or transforms.
"""

import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from dkd import files
from dkd.data import mask_values
from dkd.data.classes import VOID, Encoding
from dkd.errors import InputError

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
LOSSLESS = ("PNG", "TIFF", "BMP", "GIF")
LOSSY_COMPRESSIONS = ("jpeg", "tiff_jpeg", "webp")
"""Of TIFF."""
EXIF_CHUNKS = (b"eXIf", b"tEXtRaw profile type", b"zTXtRaw profile type", b"iTXtXML:com.adobe.xmp")
"""How a chunk of PNG begins that may hold an orientation."""
FAULTS = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, OverflowError, struct.error)
"""What Pillow raises for damaged files."""
PIECE = 2**15
_limit = threading.Lock()


class Facts(NamedTuple):
    """What the file of an image or a mask says besides its pixels."""

    size: tuple[int, int]
    """(height, width), upright."""
    orientation: int
    """EXIF orientation; 1 where there is none."""


def image_facts(path: Path, *, decode: bool) -> Facts:
    """Size and orientation of an image file; `decode`: its pixels too, so that damage is found.

    Raises InputError that names the file where it is missing or damaged.
    """
    with _opened(path, "image") as image:
        width, height = image.size
        late = image.format == "PNG" and _has_exif_chunk(path)
        orientation = 1 if image.format == "PNG" else _orientation(image)
        # Pillow turns a TIFF by itself when it is loaded.
        turned = image.format == "TIFF" and orientation != 1
        if decode:
            # JPEG at an eighth of its size: all of the file is read, in less time.
            image.draft(None, (1, 1))
        if decode or late or turned:
            image.load()
        if decode:
            _rgb(image)
        if late:
            orientation = _orientation(image)
        if turned:
            return Facts((image.height, image.width), orientation)
        return Facts((width, height) if orientation in SIDEWAYS else (height, width), orientation)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright image, from the header of its file."""
    return image_facts(path, decode=False).size


def read_image(path: Path) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8, upright; transparent parts become white, and 16 bits per channel become 8.

    Raises InputError that names the file if it is missing, damaged, not an image, or has floating-point pixels.
    """
    with _opened(path, "image") as image:
        image.load()
        return pixels(image)


def pixels(image: Image.Image) -> np.ndarray:
    """RGB pixels of an opened image, as of `read_image`; ValueError where they are floating-point."""
    return np.array(_rgb(upright(image, _orientation(image))))


def read_mask(path: Path, colours: Mapping[int, int]) -> np.ndarray:
    """Values (H, W) uint8 of a mask, upright: those stored, or those that `colours` has for its colours.

    Stored values are the indices of a palette or the levels of a gray image of 1 to 16 bits; `colours` is empty then,
    else the value of each colour 0xRRGGBB. Raises InputError that names the file, and the place in it, where the mask
    is missing, damaged or lossy, or holds a colour that is not listed or a value above 255.
    """
    with _mask(path) as (mask, step):
        return mask_values.decode(mask, step, colours, path)


class Counts(NamedTuple):
    """What a mask shows, without its pixels."""

    values: np.ndarray
    """(256,) int64: pixels of each value."""
    size: tuple[int, int]
    """(height, width), upright."""
    palette: bytes
    """Colours of its palette, 3 bytes each; empty where it has none."""


def count_mask(path: Path, colours: Mapping[int, int]) -> Counts:
    """How often a mask holds each value; arguments and errors as of `read_mask`."""
    with _mask(path) as (mask, step):
        palette = bytes(mask.getpalette("RGB") or ()) if mask.mode == "P" else b""
        if colours or mask.mode not in ("P", "L"):
            counts = np.bincount(mask_values.decode(mask, step, colours, path).ravel(), minlength=256)
        else:
            counts = np.bincount(np.arange(256) // step, weights=mask.histogram(), minlength=256).astype(np.int64)
        return Counts(counts, (mask.height, mask.width), palette)


def read_pair(image: Path, mask: Path, encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of an image (H, W, 3) and values of its mask (H, W), both uint8, which fit each other.

    Raises InputError where a file can't be read, sizes differ, or the mask holds a value that `encoding` does not know:
    after an index has been made, this means that a file has changed since.
    """
    pixels, values = read_image(image), read_mask(mask, encoding.colours)
    if values.shape != pixels.shape[:2] or not _known(values, encoding.values):
        check_size(image, mask, values.shape, image_facts(image, decode=False))
        unknown = next(value for value in np.unique(values).tolist() if value not in encoding.values)
        raise InputError(f"{mask}: value {unknown} is unknown to the index; has the mask changed? Make the index again")
    return pixels, values


def check_size(image: Path, mask: Path, size: tuple[int, int], facts: Facts) -> None:
    """Raise InputError where a mask of `size` (height, width) does not fit the upright image that has these `facts`."""
    if size == facts.size:
        return
    shown = f"{mask}: mask is {size[1]}x{size[0]} pixels, its image {image} {facts.size[1]}x{facts.size[0]}"
    if facts.orientation in SIDEWAYS and size == facts.size[::-1]:
        raise InputError(
            f"{shown}: images are read upright, and this one is turned by its EXIF orientation ({facts.orientation}), "
            "which the mask does not follow; turn the mask, or save the image without EXIF"
        )
    raise InputError(f"{shown}; use masks of the size of their images, and make the index again if one was changed")


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image turned as an EXIF orientation says; the image itself where nothing is to be turned."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _known(values: np.ndarray, known: frozenset[int]) -> bool:
    """Whether all `values` are among `known`."""
    top = len(known) - 2
    if VOID in known and top in known and max(known - {VOID}) == top:
        # Of 0, 1, ..., top and void, the common case, void wraps around to 0. In pieces that stay in the cache.
        flat = values.reshape(-1)
        return all((flat[at : at + PIECE] + np.uint8(1)).max() <= top + 1 for at in range(0, len(flat), PIECE))
    table = np.zeros(256, dtype=bool)
    table[list(known)] = True
    return bool(table.take(values).all())


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Image.Image]:
    try:
        files.check_regular(path)
        # Pillow has one limit of size for the whole process, and warns or refuses above it.
        with _limit:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except FileNotFoundError:
        raise InputError(f"{path}: {kind} is missing") from None
    except FAULTS as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not an image" if unknown else getattr(error, "strerror", None) or error or type(error).__name__
        raise InputError(f"{path}: {kind} can't be read ({reason})") from None
    with image:
        try:
            yield image
        except (*FAULTS, MemoryError) as error:
            raise InputError(f"{path}: {kind} can't be decoded ({error or type(error).__name__})") from None


@contextmanager
def _mask(path: Path) -> Iterator[tuple[Image.Image, int]]:
    """A mask, decoded and upright, and its `gray_step`."""
    with _opened(path, "mask") as mask:
        if mask.format not in LOSSLESS or mask.info.get("compression") in LOSSY_COMPRESSIONS:
            raise InputError(
                f"{path}: mask is stored as {mask.format or 'an unknown format'} with a compression that changes "
                "labels; export masks as PNG"
            )
        step = mask_values.gray_step(mask)
        mask.load()
        yield upright(mask, _orientation(mask)), step


def _has_exif_chunk(path: Path) -> bool:
    """Whether a PNG file may have an orientation, before its pixels or after them; reads only heads of chunks."""
    with path.open("rb", buffering=0) as file:
        file.seek(8)
        while len(head := file.read(32)) > 8:
            if head[4:].startswith(EXIF_CHUNKS):
                return True
            length = int.from_bytes(head[:4], "big")
            file.seek(length + 12 - len(head), 1)
    return False


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except (*FAULTS, AttributeError, ZeroDivisionError):
        # As viewers do: pixels do not depend on damaged EXIF.
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in mask_values.SIXTEEN_BIT:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("more than 16 bits per pixel; save the image with 8 or 16")
        return Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined white level; save the image with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
