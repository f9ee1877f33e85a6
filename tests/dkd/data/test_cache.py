"""Images that stay decoded: which ones, for whom, and how long."""

import gc
import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest

from dkd.data import cache, index, reader
from dkd.data.cache import ImageCache
from dkd.errors import InputError


@pytest.fixture
def files(pictures, prepared):
    table = index.read(prepared.index)
    return [(pictures / row.image, pictures / row.mask, table.encoding) for row in table.of("train")]


def test_as_many_stay_as_fit_and_all_are_right(files):
    none, all_ = ImageCache(files, 0), ImageCache(files, 1)
    assert not none.slots and len(all_.slots) == len(all_) == 24
    for found in (none, all_):
        for _ in range(2):
            for (image, mask), (image_file, mask_file, _) in zip((found[i] for i in range(24)), files, strict=True):
                assert np.array_equal(image, reader.read_image(image_file))
                assert np.array_equal(mask, reader.read_mask(mask_file, {}))
    many = ImageCache(files * 20, 1)
    # Each takes 4 KiB and a byte: 255 of them fit into 1 MB.
    assert len(many.slots) == 255 and np.array_equal(many[479][0], many[23][0])


def first(source, queue):
    queue.put(source[0])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_what_one_process_decodes_all_have(files, start, monkeypatch):
    context = multiprocessing.get_context(start)
    monkeypatch.setattr(multiprocessing, "Lock", context.Lock)
    source, queue = ImageCache(files, 1), context.Queue()
    other = context.Process(target=first, args=(source, queue))
    other.start()
    decoded = queue.get(timeout=60)
    other.join()
    files[0][0].unlink()
    assert all(np.array_equal(*pair) for pair in zip(source[0], decoded, strict=True))
    with pytest.raises(InputError, match="image is missing"):
        ImageCache(files, 0)[0]


def test_memory_is_checked_first_and_given_back(files, monkeypatch):
    source = ImageCache(files, 1)
    place = cache.SHARED / source.memory.name.lstrip("/")
    assert place.exists()
    del source
    gc.collect()
    assert not place.exists()
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"runtime.image_cache: 0 MB are more than the 0 MB of shared memory"):
        ImageCache(files, 1)
