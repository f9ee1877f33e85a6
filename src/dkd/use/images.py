"""Finds and reads people's own pictures, of any size and of any kind that Pillow knows.

Unlike the reader of data sets it turns a picture as its EXIF says, for there is no mask that it has to fit. Knows
nothing of networks.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dkd.errors import InputError

SIXTEEN = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class Photo(NamedTuple):
    """A file, and what the files made from it are called: a path without suffix, relative to where they go."""

    path: Path
    name: str


def find(places: Sequence[Path]) -> tuple[list[Photo], int]:
    """The pictures named, and those of the folders named with all folders below; and how many other files lie there.

    Names of files are kept, and so are the folders below the one that was named (that one too where several places
    are). Pictures of one folder that differ in their suffix alone keep it. Raises InputError where a place does not
    exist, holds no picture, or two pictures would go by one name.
    """
    known = Image.registered_extensions().keys()
    found: list[tuple[Path, PurePosixPath]] = []
    others = 0
    for place in places:
        if place.is_dir():
            files = sorted(path for path in place.rglob("*") if path.is_file())
            pictures = [path for path in files if path.suffix.lower() in known]
            others += len(files) - len(pictures)
            if not pictures:
                raise InputError(f"{place}: holds no picture")
            top = PurePosixPath(place.resolve().name if len(places) > 1 else "")
            found += [(path, top / path.relative_to(place).as_posix()) for path in pictures]
        elif place.exists():
            found.append((place, PurePosixPath(place.name)))
        else:
            raise InputError(f"{place}: no such file or folder")
    stems: dict[PurePosixPath, set[Path]] = {}
    for path, name in found:
        stems.setdefault(name.with_suffix(""), set()).add(path)
    photos: dict[str, Photo] = {}
    for path, name in found:
        kept = str(name if len(stems[name.with_suffix("")]) > 1 else name.with_suffix(""))
        if kept in photos and photos[kept].path != path:
            raise InputError(f"{path} and {photos[kept].path} would both go by {kept}; label them in two calls")
        photos[kept] = Photo(path, kept)
    return list(photos.values()), others


def read(path: Path) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8, upright; what is transparent shows white, 16 bits become 8.

    Raises InputError that names the file where it is missing, damaged or no picture.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            return np.array(_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a picture") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (ValueError, SyntaxError, TypeError, EOFError, MemoryError) as error:
        raise InputError(f"{path}: can't be decoded ({error or type(error).__name__})") from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("more than 16 bits per pixel")
        return Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose white nobody knows; store 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
