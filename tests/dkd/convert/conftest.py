"""Small exports, and a data set read as training reads it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from dkd.convert import Summary, convert
from dkd.data import reader
from tests.dkd.conftest import build_index


def photo(path: Path, width: int = 8, height: int = 6, orientation: int | None = None, **options) -> np.ndarray:
    """Write an image of random pixels; the pixels as they are stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([width, height, len(path.name)]).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return pixels


class Made(NamedTuple):
    root: Path
    summary: Summary
    names: tuple[str, ...]
    images: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]


def read(root: Path, summary: Summary) -> Made:
    """The data set, after the index of it was made: masks fit images and hold known labels."""
    table = build_index(root)
    names = table.class_names
    assert names == summary.names
    assert len([row for row in table.rows if row.split == "train"]) == summary.train
    assert len([row for row in table.rows if row.split == "val"]) == summary.val
    images = {row.id: reader.read_image(root / row.image) for row in table.rows}
    return Made(root, summary, names, images, {row.id: reader.read_mask(root / row.mask, {}) for row in table.rows})


@pytest.fixture
def export(tmp_path) -> Path:
    """An empty folder for an export."""
    (tmp_path / "export").mkdir()
    return tmp_path / "export"


@pytest.fixture
def made(export, tmp_path):
    """Convert the export, or a file of it; nothing of it may change."""

    def run(format: str = "auto", source: Path = export, split: float = 0.5) -> Made:
        before = {path: path.read_bytes() for path in export.rglob("*") if path.is_file()}
        try:
            summary = convert(source, tmp_path / "out" / "made", format=format, split=split, seed=0)
        except BaseException:
            assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
            raise
        finally:
            assert {path: path.read_bytes() for path in export.rglob("*") if path.is_file()} == before
        return read(tmp_path / "out" / "made", summary)

    return run
