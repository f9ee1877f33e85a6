"""Pictures that stay decoded: which, for whom, and how long."""

import gc
import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest

from dkd.data import cache as module
from dkd.data import index, reader
from dkd.errors import InputError


@pytest.fixture
def rows(prepared):
    return [row for row in index.read(prepared.index).rows if row.split == "train"]


def files(root, rows):
    return [(root / row.image, root / row.mask) for row in rows]


def test_as_many_stay_as_fit_and_all_are_right(pictures, rows):
    kept = {cache: module.Pictures(files(pictures, rows), cache) for cache in (0, 1)}
    assert not kept[0].places and len(kept[1].places) == len(kept[1]) == 24
    for found in kept.values():
        for _ in range(2):
            for position, row in enumerate(rows):
                image, mask = found[position]
                assert np.array_equal(image, reader.read_image(pictures / row.image))
                assert np.array_equal(mask, reader.read_mask(pictures / row.mask))
    many = module.Pictures(files(pictures, rows) * 20, 1)
    # Each takes 4 KiB and a byte: 255 of them fit into 1 MB.
    assert len(many.places) == 255 and np.array_equal(many[479][0], many[23][0])


def first(source, answer):
    answer.put(source[0])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_what_one_process_decodes_all_have(pictures, rows, start, monkeypatch):
    context = multiprocessing.get_context(start)
    monkeypatch.setattr(multiprocessing, "Lock", context.Lock)
    source, answer = module.Pictures(files(pictures, rows), 1), context.Queue()
    other = context.Process(target=first, args=(source, answer))
    other.start()
    decoded = answer.get(timeout=60)
    other.join()
    (pictures / rows[0].image).unlink()
    assert all(np.array_equal(*pair) for pair in zip(source[0], decoded, strict=True))
    with pytest.raises(InputError, match="image is missing"):
        module.Pictures(files(pictures, rows))[0]


def test_memory_is_asked_for_first_and_given_back(pictures, rows, monkeypatch):
    source = module.Pictures(files(pictures, rows), 1)
    place = module.SHARED / source.memory.name.lstrip("/")
    assert place.exists()
    del source
    gc.collect()
    assert not place.exists()
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"runtime.image_cache: 0 MB are more than the 0 MB of shared memory"):
        module.Pictures(files(pictures, rows), 1)
