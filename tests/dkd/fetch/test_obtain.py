"""The benchmarks in their real layouts, made small: from a folder or a server, and what goes wrong on the way."""

import collections
import hashlib
import io
import shutil
import sys
import tarfile
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from dkd import cli
from dkd.errors import InputError
from dkd.fetch import archives, download, fetch

TRAIN, VAL = ["2007_000032", "2007_000039"], ["2007_000033"]
SBD_TRAIN, SBD_VAL = ["2007_000032", "2008_000002"], ["2007_000033", "2008_000007"]


def png(labels, mode="P") -> bytes:
    image = Image.fromarray(np.asarray(labels, dtype=np.uint8), mode="L").convert("L")
    if mode == "P":
        image = Image.fromarray(np.asarray(labels, dtype=np.uint8), mode="P")
        image.putpalette([channel for index in range(256) for channel in (index, 128, 255 - index)])
    buffer = io.BytesIO()
    (image if mode != "RGB" else image.convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()


def jpg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (9, 99, 199)).save(buffer, "JPEG")
    return buffer.getvalue()


def mask(label: int) -> list[list[int]]:
    return [[0, label, 255, label]] * 3


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)


def lines(ids: list[str]) -> bytes:
    return "".join(f"{id}\n" for id in ids).encode()


def sbd_mat(labels) -> bytes:
    scipy_io = pytest.importorskip("scipy.io", reason="needs the extra `sbd`")
    buffer = io.BytesIO()
    edges = np.empty((20, 1), dtype=object)
    edges[:] = [[np.zeros((3, 4))]]
    scipy_io.savemat(buffer, {"GTcls": {"Boundaries": edges, "Segmentation": np.asarray(labels, np.uint8)}})
    return buffer.getvalue()


def voc_tar(folder: Path) -> None:
    top = "VOCdevkit/VOC2012/"
    ids = sorted({*TRAIN, *VAL, *SBD_TRAIN, *SBD_VAL, "2012_004331"})
    files = {f"{top}JPEGImages/{id}.jpg": jpg() for id in ids}
    files |= {f"{top}Annotations/{id}.xml": b"<annotation/>" for id in ids}
    files |= {f"{top}SegmentationClass/{id}.png": png(mask(1)) for id in TRAIN + VAL}
    files |= {f"{top}SegmentationObject/{id}.png": png(mask(7)) for id in TRAIN + VAL}
    lists = {"train": TRAIN, "val": VAL, "trainval": TRAIN + VAL}
    files |= {f"{top}ImageSets/Segmentation/{name}.txt": lines(ids) for name, ids in lists.items()}
    files |= {f"{top}ImageSets/Main/cat_val.txt": b"2008_000002 -1\n"}
    write_tar(folder / fetch.VOC.name, files)


def sbd_tgz(folder: Path) -> None:
    top = "benchmark_RELEASE/dataset/"
    files = {f"{top}cls/{id}.mat": sbd_mat(np.full((3, 4), 2)) for id in SBD_TRAIN + SBD_VAL}
    files |= {f"{top}img/{id}.jpg": jpg() for id in SBD_TRAIN + SBD_VAL}
    files |= {f"{top}train.txt": lines(SBD_TRAIN), f"{top}val.txt": lines(SBD_VAL)}
    write_tar(folder / fetch.SBD.name, files)


def ade20k_zip(folder: Path) -> None:
    top = "ADEChallengeData2016/"
    files = {f"{top}objectInfo150.txt": b"Idx\tRatio\n"}
    for split, ids in (
        ("training", ["ADE_train_00000001", "ADE_train_00000002"]),
        ("validation", ["ADE_val_00000001"]),
    ):
        files |= {f"{top}images/{split}/{id}.jpg": jpg() for id in ids}
        files |= {f"{top}annotations/{split}/{id}.png": png(np.full((3, 4), 150), "L") for id in ids}
    write_zip(folder / fetch.ADE20K.name, files)


LABEL_IDS = [[0, 7, 8, 33], [4, 29, 26, 1], [23, 17, 11, 11]]
TRAIN_IDS = [[255, 0, 1, 18], [255, 255, 13, 255], [10, 5, 2, 2]]


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


COUNTS = {
    "voc2012": {"trainaug": 4, "val": 1},
    "ade20k": {"training": 2, "validation": 1},
    "cityscapes": {"train": 2, "val": 1},
}


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    """A folder with the small archives; the sources are told their sizes and digests."""
    folder = tmp_path / "archives"
    folder.mkdir()
    voc_tar(folder)
    ade20k_zip(folder)
    for source, files in zip(fetch.CITYSCAPES, cityscapes_files(), strict=True):
        write_zip(folder / source.name, files)
    tell(monkeypatch, folder)
    monkeypatch.setattr(download, "PAUSES", ())
    return folder


@pytest.fixture
def with_sbd(archive, monkeypatch) -> Path:
    sbd_tgz(archive)
    tell(monkeypatch, archive)
    return archive


def tell(monkeypatch, folder: Path) -> None:
    for name, benchmark in fetch.BENCHMARKS.items():
        sources = []
        for source in benchmark.sources:
            path = folder / source.name
            content = path.read_bytes() if path.exists() else b""
            digest = source.digest and f"md5:{hashlib.md5(content).hexdigest()}"
            sources.append(source._replace(size=len(content), digest=digest))
        changed = benchmark._replace(sources=tuple(sources), counts=COUNTS[name], unpacked=100_000)
        monkeypatch.setitem(fetch.BENCHMARKS, name, changed)


@pytest.fixture
def masks(tmp_path) -> Path:
    """A ready SegmentationClassAug of all pictures, as it is passed around."""
    folder = tmp_path / "ready" / "SegmentationClassAug"
    folder.mkdir(parents=True)
    for id in {*TRAIN, *VAL, *SBD_TRAIN, *SBD_VAL}:
        (folder / f"{id}.png").write_bytes(png(mask(3), "L"))
    return folder


def labels(path: Path) -> set[int]:
    image = Image.open(path)
    assert image.mode in ("L", "P")
    return set(np.unique(np.asarray(image)).tolist())


def listing(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# -- what is made


def check_voc(root: Path, added: set[int]) -> None:
    assert (root / "ImageSets/Segmentation/val.txt").read_text().split() == VAL
    ids = (root / "ImageSets/Segmentation/trainaug.txt").read_text().split()
    assert ids == ["2007_000032", "2007_000039", "2008_000002", "2008_000007"]
    for id in TRAIN + VAL:
        assert labels(root / f"SegmentationClassAug/{id}.png") == {0, 1, 255}, "VOC's own annotation stands"
    for id in ("2008_000002", "2008_000007"):
        assert labels(root / f"SegmentationClassAug/{id}.png") == added
        assert (root / f"JPEGImages/{id}.jpg").is_file()
    assert {path.name for path in root.iterdir()} == {"JPEGImages", "SegmentationClassAug", "ImageSets"}
    assert fetch.fault("voc2012", root) is None


def test_voc_with_the_labels_of_sbd(with_sbd, tmp_path):
    fetch.fetch("voc2012", tmp_path / "voc", str(with_sbd))
    check_voc(tmp_path / "voc", {2})


@pytest.mark.parametrize("how", ["folder", "parent", "zip", "zip of files within"])
def test_voc_with_ready_masks(archive, masks, tmp_path, how, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    given = {"folder": masks, "parent": masks.parent}.get(how)
    if given is None:
        given = tmp_path / "SegmentationClassAug.zip"
        top = "SegmentationClassAug" if how == "zip" else "VOC/SegmentationClassAug"
        files = {f"{top}/{path.name}": path.read_bytes() for path in masks.iterdir()}
        write_zip(given, files | {f"__MACOSX/{top}/._{path.name}": b"x" for path in masks.iterdir()})
    fetch.fetch("voc2012", tmp_path / "voc", str(archive), given)
    check_voc(tmp_path / "voc", {0, 3, 255})
    assert len(list(masks.iterdir())) == 5, "the user's files stay"


def test_ade20k(archive, tmp_path):
    fetch.fetch("ade20k", tmp_path / "ade", str(archive))
    assert listing(tmp_path / "ade") == [
        *(f"annotations/training/ADE_train_0000000{i}.png" for i in (1, 2)),
        "annotations/validation/ADE_val_00000001.png",
        *(f"images/training/ADE_train_0000000{i}.jpg" for i in (1, 2)),
        "images/validation/ADE_val_00000001.jpg",
    ]
    assert labels(tmp_path / "ade/annotations/validation/ADE_val_00000001.png") == {150}


def test_cityscapes_gets_its_train_ids(archive, tmp_path):
    fetch.fetch("cityscapes", tmp_path / "city", str(archive))
    path = tmp_path / "city/gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png"
    assert np.asarray(Image.open(path)).tolist() == TRAIN_IDS
    files = listing(tmp_path / "city")
    assert len(files) == 3 * 3 and not [name for name in files if "test" in name or "color" in name]


def test_cityscapes_unpacked_by_hand(archive, tmp_path, caplog):
    for files in cityscapes_files():
        for name, content in files.items():
            path = tmp_path / "city" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    caplog.set_level("INFO")
    fetch.fetch("cityscapes", tmp_path / "city")
    assert "is complete (2 pictures train, 1 pictures val)" in caplog.text
    path = tmp_path / "city/gtFine/val/munster/munster_000002_000019_gtFine_labelTrainIds.png"
    assert np.asarray(Image.open(path)).tolist() == TRAIN_IDS


def test_a_second_call_does_nothing(archive, tmp_path, caplog):
    fetch.fetch("ade20k", tmp_path / "ade", str(archive))
    before = {name: (tmp_path / "ade" / name).stat().st_mtime_ns for name in listing(tmp_path / "ade")}
    shutil.rmtree(archive)
    caplog.set_level("INFO")
    fetch.fetch("ade20k", tmp_path / "ade")
    assert "nothing to do" in caplog.text
    assert before == {name: (tmp_path / "ade" / name).stat().st_mtime_ns for name in listing(tmp_path / "ade")}


def test_a_linked_folder_is_followed(archive, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "ade").symlink_to(tmp_path / "disk")
    fetch.fetch("ade20k", tmp_path / "ade", str(archive))
    assert (tmp_path / "ade").is_symlink() and fetch.fault("ade20k", tmp_path / "disk") is None


# -- from a server


@pytest.fixture
def mirror(archive):
    asked = collections.Counter()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=str(archive))

        def log_message(self, *words):
            asked[self.path] += 1

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["ade20k", "cityscapes"])
def test_from_a_mirror(mirror, tmp_path, name):
    fetch.fetch(name, tmp_path / "new" / name, mirror[0] + "/")
    assert fetch.fault(name, tmp_path / "new" / name) is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name], "archives and scratch are gone"


def test_from_its_own_address(mirror, tmp_path, monkeypatch):
    benchmark = fetch.BENCHMARKS["ade20k"]
    source = benchmark.sources[0]._replace(url=f"{mirror[0]}/{fetch.ADE20K.name}")
    monkeypatch.setitem(fetch.BENCHMARKS, "ade20k", benchmark._replace(sources=(source,)))
    fetch.fetch("ade20k", tmp_path / "ade")
    assert fetch.fault("ade20k", tmp_path / "ade") is None


def test_killed_while_unpacking_goes_on_without_a_second_download(mirror, tmp_path, monkeypatch):
    unpack = archives.unpack

    def killed(archive, out, files):
        unpack(archive, out, files)
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "unpack", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("ade20k", tmp_path / "new/ade", mirror[0])
    assert not (tmp_path / "new/ade").exists()
    monkeypatch.setattr(archives, "unpack", unpack)
    # What a kill without a chance to clean up would have left besides.
    (tmp_path / "new/.ade.fetch/tree/images/training").mkdir(parents=True)
    (tmp_path / "new/.ade.fetch/tree/images/training/half.jpg").write_bytes(b"\xff\xd8")
    fetch.fetch("ade20k", tmp_path / "new/ade", mirror[0])
    assert mirror[1] == {f"/{fetch.ADE20K.name}": 1}
    assert len(listing(tmp_path / "new/ade")) == 6 and [path.name for path in (tmp_path / "new").iterdir()] == ["ade"]


def test_killed_after_the_rename(archive, tmp_path):
    fetch.fetch("ade20k", tmp_path / "new/ade", str(archive))
    (tmp_path / "new/.ade.fetch").mkdir()
    (tmp_path / "new/.ade.fetch" / fetch.ADE20K.name).write_bytes(b"left")
    fetch.fetch("ade20k", tmp_path / "new/ade")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ade"]


def test_two_at_once(archive, tmp_path):
    with fetch._alone(tmp_path / ".ade.fetch"):
        with pytest.raises(InputError, match="another fetch is at work there"):
            fetch.fetch("ade20k", tmp_path / "ade", str(archive))
        assert (tmp_path / ".ade.fetch").exists()
    assert not (tmp_path / ".ade.fetch").exists() and not (tmp_path / "ade").exists()


def test_a_wrong_archive_is_loaded_anew(mirror, archive, tmp_path):
    right = (archive / fetch.ADE20K.name).read_bytes()
    (archive / fetch.ADE20K.name).write_bytes(right[:-1] + b"?")
    with pytest.raises(InputError, match="not the file that is documented"):
        fetch.fetch("ade20k", tmp_path / "new/ade", mirror[0])
    assert not list((tmp_path / "new").iterdir())
    (archive / fetch.ADE20K.name).write_bytes(right)
    fetch.fetch("ade20k", tmp_path / "new/ade", mirror[0])


# -- what goes wrong


def refused(said: str, *words) -> str:
    with pytest.raises(InputError, match=said) as caught:
        fetch.fetch(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cityscapes_needs_a_login(archive, tmp_path):
    said = refused("a login is needed. Register at https://www.cityscapes", "cityscapes", tmp_path / "new/city")
    assert all(source.name in said for source in fetch.CITYSCAPES) and "--from" in said
    assert not (tmp_path / "new").exists()


def test_sbd_needs_scipy(archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    refused(r"pip install 'dkd\[sbd\]', or .* --masks", "voc2012", tmp_path / "new/voc", str(archive))
    assert not (tmp_path / "new").exists()


def test_a_full_disk(archive, tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda place: usage(50_000))
    refused("needs 0.0 GB, 0.0 GB are free; make room", "ade20k", tmp_path / "new/ade", str(archive))
    assert not (tmp_path / "new").exists()


def test_space_counts_what_is_still_to_come(archive, tmp_path, monkeypatch):
    work = tmp_path / ".voc.fetch"
    work.mkdir()
    voc, sbd = (source._replace(size=1_000_000) for source in fetch.BENCHMARKS["voc2012"].sources)
    (work / voc.name).write_bytes(bytes(1_000_000))
    (work / f"{sbd.name}.part").write_bytes(bytes(400_000))
    need = 100_000 + 600_000
    for free, fits in ((need, True), (need - 1, False)):
        usage = collections.namedtuple("usage", "free")(free)
        monkeypatch.setattr(fetch.shutil, "disk_usage", lambda place, usage=usage: usage)
        if fits:
            fetch._check_space("voc2012", tmp_path / "voc", 100_000, (voc, sbd), work)
        else:
            with pytest.raises(InputError, match="needs"):
                fetch._check_space("voc2012", tmp_path / "voc", 100_000, (voc, sbd), work)


def test_a_folder_without_the_archive(tmp_path, archive):
    (archive / fetch.ADE20K.name).unlink()
    refused(
        f"{fetch.ADE20K.name}: missing; get it from http://data.csail", "ade20k", tmp_path / "new/ade", str(archive)
    )
    (archive / "gtFine_trainvaltest.zip").unlink()
    refused("missing; get it from https://www.cityscapes", "cityscapes", tmp_path / "new/city", str(archive))
    assert not (tmp_path / "new").exists()


def test_a_damaged_archive_of_the_user_stays(archive, tmp_path):
    path = archive / fetch.ADE20K.name
    path.write_bytes(path.read_bytes()[:-9])
    refused(f"{path}: not the file that is documented", "ade20k", tmp_path / "new/ade", str(archive))
    assert path.exists() and not list((tmp_path / "new").iterdir())


def test_an_archive_that_lacks_pictures(archive, tmp_path, monkeypatch):
    benchmark = fetch.BENCHMARKS["ade20k"]
    monkeypatch.setitem(fetch.BENCHMARKS, "ade20k", benchmark._replace(counts={"training": 3, "validation": 1}))
    refused("training: 2 pictures, expected 3", "ade20k", tmp_path / "new/ade", str(archive))
    assert not list((tmp_path / "new").iterdir())


def test_something_else_is_there(archive, tmp_path):
    fetch.fetch("ade20k", tmp_path / "ade", str(archive))
    (tmp_path / "ade/annotations/training/ADE_train_00000002.png").unlink()
    said = "not a complete ade20k .annotations/training/ADE_train_00000002.png: No such file"
    refused(said, "ade20k", tmp_path / "ade", str(archive))
    (tmp_path / "ade/annotations/training/ADE_train_00000002.png").touch()
    refused("ADE_train_00000002.png is empty", "ade20k", tmp_path / "ade", str(archive))
    refused("not a complete voc2012 .ImageSets", "voc2012", tmp_path / "ade", str(archive))
    assert len(listing(tmp_path / "ade")) == 6


def test_a_list_in_another_encoding(archive, masks, tmp_path):
    fetch.fetch("voc2012", tmp_path / "voc", str(archive), masks)
    path = tmp_path / "voc/ImageSets/Segmentation/trainaug.txt"
    path.write_text("caf\u00e9\n", encoding="latin-1")
    refused(f"{path}: not UTF-8 text; it lists", "voc2012", tmp_path / "voc")


def test_masks_in_colour(archive, masks, tmp_path):
    (masks / "2008_000002.png").write_bytes(png(mask(3), "RGB"))
    said = f"{masks / '2008_000002.png'}: mask has mode RGB"
    refused(said, "voc2012", tmp_path / "new/voc", str(archive), masks)
    assert not list((tmp_path / "new").iterdir())


def test_masks_that_are_none(archive, tmp_path):
    (tmp_path / "empty").mkdir()
    refused("holds no .png", "voc2012", tmp_path / "new/voc", str(archive), tmp_path / "empty")
    refused("No such file", "voc2012", tmp_path / "new/voc", str(archive), tmp_path / "none")
    refused("only voc2012 takes masks", "ade20k", tmp_path / "new/ade", str(archive), tmp_path / "empty")
    write_zip(tmp_path / "other.zip", {"a.png": png(mask(3))})
    refused("holds nothing that is called", "voc2012", tmp_path / "new/voc", str(archive), tmp_path / "other.zip")


# -- what is said of the sources


def test_addresses_and_digests_are_those_of_torchvision():
    from torchvision.datasets import SBDataset, voc

    there = voc.DATASET_YEAR_DICT["2012"]
    assert (fetch.VOC.name, fetch.VOC.url, fetch.VOC.digest) == (there["filename"], there["url"], f"md5:{there['md5']}")
    assert (fetch.SBD.name, fetch.SBD.url, fetch.SBD.digest) == (
        SBDataset.filename,
        SBDataset.url,
        f"md5:{SBDataset.md5}",
    )


def test_the_page_on_data_says_what_is_needed():
    text = (Path(__file__).parents[2] / "data" / "README.md").read_text()
    for name, benchmark in fetch.BENCHMARKS.items():
        need = benchmark.unpacked + sum(source.size for source in benchmark.sources if source.url)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| {need / 1e9:.1f} GB |" in row
        for split, count in benchmark.counts.items():
            assert f"{split} {count:,}" in row
        for source in benchmark.sources:
            assert source.name in text and (source.url or benchmark.page) in text
            assert (source.digest or "").rpartition(":")[2] in text


def test_the_command(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dkd", "fetch", "ade20k", "--from", str(archive)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code in (0, None) and fetch.fault("ade20k", tmp_path / "data/raw/ade20k") is None
    monkeypatch.setattr(sys, "argv", ["dkd", "fetch", "ade2k"])
    with pytest.raises(SystemExit, match="dkd: DATASET: unknown data set 'ade2k'; did you mean 'ade20k'"):
        cli.main()
