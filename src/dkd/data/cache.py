"""Pictures and their masks by position, decoded once as far as a given memory goes.

Knows files, nothing of data sets, steps or transforms. The memory is shared between the processes that load; nothing is
ever dropped from it, because a random order asks for every picture equally often.
"""

import multiprocessing
import os
import shutil
import weakref
from collections.abc import Sequence
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from dkd.data import reader
from dkd.errors import InputError

SHARED = Path("/dev/shm")


class Pictures:
    """Images (H, W, 3) and masks (H, W), uint8, of (image, mask) `files`; the first that fit into `cache` MB are kept.

    Raises InputError where the machine has less shared memory than they take.
    """

    def __init__(self, files: Sequence[tuple[Path, Path]], cache: int = 0):
        self.files = files
        self.places: list[tuple[int, int, int]] = []
        """Offset, height and width of each picture that is kept; a byte that says whether it is there comes first."""
        used = 0
        for image, _ in files if cache else ():
            height, width = reader.image_size(image)
            if used + 1 + 4 * height * width > cache * 2**20:
                break
            self.places.append((used, height, width))
            used += 1 + 4 * height * width
        self.memory = None
        if self.places:
            free = shutil.disk_usage(SHARED).free if SHARED.is_dir() else used
            if used > free:
                raise InputError(
                    f"runtime.image_cache: {used >> 20} MB are more than the {free >> 20} MB of shared memory that are "
                    f"free in {SHARED}; lower it"
                )
            self.memory, self.lock = SharedMemory(create=True, size=used), multiprocessing.Lock()
            weakref.finalize(self, _release, self.memory, os.getpid())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and mask at `position`."""
        if position >= len(self.places):
            return self._decoded(position)
        start, height, width = self.places[position]
        # The lock orders the flag and what it stands for; two processes may decode the same picture, to the same bytes.
        with self.lock:
            ready = self.memory.buf[start]
        pixels = np.frombuffer(self.memory.buf, np.uint8, 4 * height * width, start + 1)
        image, mask = pixels[: 3 * height * width].reshape(height, width, 3), pixels[3 * height * width :]
        mask = mask.reshape(height, width)
        if ready:
            return image.copy(), mask.copy()
        decoded = self._decoded(position)
        if decoded[1].shape == (height, width):
            image[:], mask[:] = decoded
            with self.lock:
                self.memory.buf[start] = 1
        return decoded

    def _decoded(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.files[position]
        return reader.read_image(image), reader.read_mask(mask)


def _release(memory: SharedMemory, owner: int) -> None:
    if os.getpid() == owner:
        memory.unlink()
