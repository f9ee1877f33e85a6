"""Reads the frames of a video, by the package av. Knows nothing of networks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dkd import files
from dkd.errors import InputError


def frames(path: Path, every: int) -> Iterator[tuple[int, np.ndarray]]:
    """Number and RGB pixels (H, W, 3) uint8, upright, of the frames 0, `every`, 2 `every`, ... of a video.

    Raises InputError that names the file if it can't be read, before the first frame or after some.
    """
    try:
        import av
    except ImportError:
        raise InputError(f'{path}: videos need the package av; pip install -e ".[video]"') from None
    try:
        files.check_regular(path)
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: video has no pictures")
            for number, frame in enumerate(container.decode(container.streams.video[0])):
                if number % every == 0:
                    yield number, upright(frame.to_ndarray(format="rgb24"), frame.rotation)
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{path}: video can't be read ({error.strerror or error})") from None


def upright(pixels: np.ndarray, rotation: int) -> np.ndarray:
    """Pixels (H, W, 3) turned counterclockwise by `rotation` degrees, as players do; phones record sideways."""
    return np.ascontiguousarray(np.rot90(pixels, round(rotation / 90)))
