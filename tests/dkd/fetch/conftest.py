"""The archives of the benchmarks, in their real layouts, made small."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dkd.fetch import download, sources

TRAIN, VAL = ["2007_000032", "2007_000039"], ["2007_000033"]
SBD_TRAIN, SBD_VAL = ["2007_000032", "2008_000002"], ["2007_000033", "2008_000007"]
LABEL_IDS = [[0, 7, 8, 33], [4, 29, 26, 1], [23, 17, 11, 11]]
COUNTS = {
    "voc2012": {"trainaug": 4, "val": 1},
    "ade20k": {"training": 2, "validation": 1},
    "cityscapes": {"train": 2, "val": 1},
}


def png(labels, mode="P") -> bytes:
    image = Image.fromarray(np.asarray(labels, dtype=np.uint8), mode="L")
    if mode == "P":
        image = Image.fromarray(np.asarray(labels, dtype=np.uint8), mode="P")
        image.putpalette([channel for index in range(256) for channel in (index, 128, 255 - index)])
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def jpg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (9, 99, 199)).save(buffer, "JPEG")
    return buffer.getvalue()


def mask(label: int) -> list[list[int]]:
    return [[0, label, 255, label]] * 3


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, content in files.items():
                file.writestr(name, content)
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def lines(ids: list[str]) -> bytes:
    return "".join(f"{id}\n" for id in ids).encode()


def voc_files() -> dict[str, bytes]:
    top = "VOCdevkit/VOC2012/"
    ids = sorted({*TRAIN, *VAL, *SBD_TRAIN, *SBD_VAL, "2012_004331"})
    files = {f"{top}JPEGImages/{id}.jpg": jpg() for id in ids}
    files |= {f"{top}Annotations/{id}.xml": b"<annotation/>" for id in ids}
    files |= {f"{top}SegmentationClass/{id}.png": png(mask(1)) for id in TRAIN + VAL}
    files |= {f"{top}SegmentationObject/{id}.png": png(mask(7)) for id in TRAIN + VAL}
    lists = {"train": TRAIN, "val": VAL, "trainval": TRAIN + VAL}
    files |= {f"{top}ImageSets/Segmentation/{name}.txt": lines(ids) for name, ids in lists.items()}
    return files | {f"{top}ImageSets/Main/cat_val.txt": b"2008_000002 -1\n"}


def sbd_files() -> dict[str, bytes]:
    scipy_io = pytest.importorskip("scipy.io", reason="needs the extra `sbd`")
    buffer, edges, top = io.BytesIO(), np.empty((20, 1), dtype=object), "benchmark_RELEASE/dataset/"
    edges[:] = [[np.zeros((3, 4))]]
    scipy_io.savemat(buffer, {"GTcls": {"Boundaries": edges, "Segmentation": np.full((3, 4), 2, np.uint8)}})
    files = {f"{top}cls/{id}.mat": buffer.getvalue() for id in SBD_TRAIN + SBD_VAL}
    files |= {f"{top}img/{id}.jpg": jpg() for id in SBD_TRAIN + SBD_VAL}
    return files | {f"{top}train.txt": lines(SBD_TRAIN), f"{top}val.txt": lines(SBD_VAL)}


def ade20k_files() -> dict[str, bytes]:
    top = "ADEChallengeData2016/"
    files = {f"{top}objectInfo150.txt": b"Idx\tRatio\n"}
    for split, ids in (
        ("training", ["ADE_train_00000001", "ADE_train_00000002"]),
        ("validation", ["ADE_val_00000001"]),
    ):
        files |= {f"{top}images/{split}/{id}.jpg": jpg() for id in ids}
        files |= {f"{top}annotations/{split}/{id}.png": png(np.full((3, 4), 150), "L") for id in ids}
    return files


def cityscapes_files() -> tuple[dict[str, bytes], dict[str, bytes]]:
    images, labels = {"README": b"Cityscapes"}, {"license.txt": b"non-commercial"}
    for split, city, id in (
        ("train", "aachen", "0"),
        ("train", "ulm", "1"),
        ("val", "munster", "2"),
        ("test", "bonn", "3"),
    ):
        images[f"leftImg8bit/{split}/{city}/{city}_00000{id}_000019_leftImg8bit.png"] = png(mask(3), "RGB")
        stem = f"gtFine/{split}/{city}/{city}_00000{id}_000019_gtFine_"
        labels |= {f"{stem}labelIds.png": png(LABEL_IDS, "L"), f"{stem}color.png": png(LABEL_IDS, "RGB")}
        labels |= {f"{stem}polygons.json": b"{}", f"{stem}instanceIds.png": png(LABEL_IDS, "L")}
    return images, labels


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    """A folder with the small archives but SBD's; BENCHMARKS has their sizes and digests."""
    folder = tmp_path / "archives"
    folder.mkdir()
    write_archive(folder / sources.VOC.name, voc_files())
    write_archive(folder / sources.ADE20K.name, ade20k_files())
    for source, files in zip(sources.CITYSCAPES, cityscapes_files(), strict=True):
        write_archive(folder / source.name, files)
    describe(monkeypatch, folder)
    monkeypatch.setattr(download, "PAUSES", ())
    return folder


@pytest.fixture
def with_sbd(archive, monkeypatch) -> Path:
    write_archive(archive / sources.SBD.name, sbd_files())
    describe(monkeypatch, archive)
    return archive


def describe(monkeypatch, folder: Path) -> None:
    for name, benchmark in sources.BENCHMARKS.items():
        changed = []
        for source in benchmark.sources:
            path = folder / source.name
            content = path.read_bytes() if path.exists() else b""
            digest = source.digest and f"md5:{hashlib.md5(content).hexdigest()}"
            changed.append(source._replace(size=len(content), digest=digest))
        small = benchmark._replace(sources=tuple(changed), counts=COUNTS[name], unpacked=100_000)
        monkeypatch.setitem(sources.BENCHMARKS, name, small)


@pytest.fixture
def masks(tmp_path) -> Path:
    """A ready SegmentationClassAug of all images, as people pass it on."""
    folder = tmp_path / "ready" / "SegmentationClassAug"
    folder.mkdir(parents=True)
    for id in {*TRAIN, *VAL, *SBD_TRAIN, *SBD_VAL}:
        (folder / f"{id}.png").write_bytes(png(mask(3), "L"))
    return folder
