"""Images and their masks by position; as many as fit into a given memory are decoded only once.

Knows files, but nothing of data sets, steps or transforms. The memory is shared between loader processes. Nothing is
ever evicted, because training reads every image equally often, in random order.
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
from dkd.data.classes import Encoding
from dkd.errors import InputError

SHARED = Path("/dev/shm")


class ImageCache:
    """Images (H, W, 3) and masks (H, W), uint8, of `files`; the first that fit into `size` MB are cached.

    `files`: image, mask, and how the mask stores labels. Raises InputError where the machine has less free
    shared memory than that takes.
    """

    def __init__(self, files: Sequence[tuple[Path, Path, Encoding]], size: int):
        self.files = files
        self.slots: list[tuple[int, int, int]] = []
        """Offset, height and width of each cached image; its first byte says whether it has been decoded."""
        used = 0
        for image, *_ in files if size else ():
            height, width = reader.image_size(image)
            if used + 1 + 4 * height * width > size * 2**20:
                break
            self.slots.append((used, height, width))
            used += 1 + 4 * height * width
        self.memory = None
        if self.slots:
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
        if position >= len(self.slots):
            return self._decoded(position)
        start, height, width = self.slots[position]
        # The lock orders the flag and the pixels; two processes may decode the same image, to the same bytes.
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
        return reader.read_pair(*self.files[position])


def _release(memory: SharedMemory, owner: int) -> None:
    if os.getpid() == owner:
        memory.unlink()
