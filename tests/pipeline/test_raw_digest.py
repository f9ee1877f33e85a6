import json
import os
import time

import pytest

from dkd.errors import InputError
from pipeline import raw_digest


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "raw"
    (root / "images").mkdir(parents=True)
    (root / "images" / "a.png").write_bytes(b"a")
    (root / "images" / "b.png").write_bytes(b"b")
    (root / "classes.txt").write_text("background\n")
    return root


PARTS = ("classes.txt", "images")


def test_raw_data_is_its_content_wherever_it_lies(pictures):
    before = raw_digest.of(pictures, PARTS, fresh=False)
    (pictures / "notes.txt").write_text("no part of the data set")
    (pictures / "images" / ".hidden").write_text("nor is this")
    moved = pictures.rename(pictures.with_name("elsewhere"))
    assert raw_digest.of(moved, reversed(PARTS), fresh=False) == before


@pytest.mark.parametrize("change", ["content", "name", "more", "fewer", "swapped"])
def test_a_change_of_raw_data_is_seen(pictures, change):
    before = raw_digest.of(pictures, PARTS, fresh=False)
    a, b = pictures / "images" / "a.png", pictures / "images" / "b.png"
    if change == "content":
        a.write_bytes(b"c")
    elif change == "name":
        a.rename(a.with_name("c.png"))
    elif change == "more":
        a.with_name("c.png").write_bytes(b"")
    elif change == "fewer":
        a.unlink()
    else:
        a.write_bytes(b"b"), b.write_bytes(b"a")
    assert raw_digest.of(pictures, PARTS, fresh=False) != before


def test_unchanged_files_are_read_once(pictures, monkeypatch):
    for path in pictures.rglob("*.*"):
        os.utime(path, (1, 1))
    read = []
    digest = raw_digest.file_digest
    monkeypatch.setattr(raw_digest, "file_digest", lambda path: read.append(path.name) or digest(path))
    first = raw_digest.of(pictures, PARTS, fresh=False)
    assert sorted(read) == ["a.png", "b.png", "classes.txt"]
    raw_digest.save()
    os.utime(pictures / "images" / "a.png", (2, 2))
    read.clear()
    assert raw_digest.of(pictures, PARTS, fresh=False) == first
    assert read == ["a.png"]
    raw_digest.save()
    raw_digest.of(pictures, PARTS, fresh=False)
    assert read == ["a.png"]
    assert raw_digest.of(pictures, PARTS, fresh=True) == first
    assert len(read) == 4


def test_reading_writes_nothing_until_it_is_saved(pictures):
    raw_digest.of(pictures, PARTS, fresh=False)
    assert not raw_digest.CACHE.exists()
    raw_digest.save()
    [cache] = raw_digest.CACHE.iterdir()
    cache.unlink()
    raw_digest.save()
    assert not list(raw_digest.CACHE.iterdir()), "what was saved once is not saved again"


def test_a_file_that_was_just_written_is_read_again(pictures):
    """Within the resolution of file times it may change without their telling."""
    for path in pictures.rglob("*.*"):
        os.utime(path, (1, 1))
    later = time.time() + 1000
    os.utime(pictures / "images" / "a.png", (later, later))
    raw_digest.of(pictures, PARTS, fresh=False)
    raw_digest.save()
    [cache] = raw_digest.CACHE.iterdir()
    assert json.loads(cache.read_text()).keys() == {"classes.txt", "images/b.png"}


def test_a_file_that_is_gone_leaves_the_cache(pictures):
    for path in pictures.rglob("*.*"):
        os.utime(path, (1, 1))
    raw_digest.of(pictures, PARTS, fresh=False)
    raw_digest.save()
    (pictures / "images" / "b.png").unlink()
    raw_digest.of(pictures, PARTS, fresh=False)
    raw_digest.save()
    [cache] = raw_digest.CACHE.iterdir()
    assert json.loads(cache.read_text()).keys() == {"classes.txt", "images/a.png"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"images/a.png": 3}', '{"images/a.png": [1, 2, 3, null]}'])
def test_a_spoilt_cache_is_ignored(pictures, content):
    before = raw_digest.of(pictures, PARTS, fresh=False)
    raw_digest.save()
    [cache] = raw_digest.CACHE.glob("*")
    cache.write_text(content)
    assert raw_digest.of(pictures, PARTS, fresh=False) == before


def test_missing_raw_data_is_named(pictures):
    with pytest.raises(InputError, match=r"not found at nowhere: put it there, or set data\.root"):
        raw_digest.of(pictures.relative_to(pictures.parent).with_name("nowhere"), PARTS, fresh=False)
    with pytest.raises(InputError, match="raw has no masks: the data set is incomplete"):
        raw_digest.of(pictures, ("masks",), fresh=False)
