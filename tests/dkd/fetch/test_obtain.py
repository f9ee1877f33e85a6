"""From a folder or a server to a complete data set, and what goes wrong on the way."""

import collections
import os
import shutil
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from dkd import cli
from dkd.errors import InputError
from dkd.fetch import archives, layout, obtain
from dkd.fetch.sources import ADE20K, BENCHMARKS
from tests.dkd.fetch.conftest import mask, png, write_archive


def fetch(name: str, out: Path, source=None, masks=None) -> None:
    obtain.obtain(name, out, source and str(source), masks)


def refused(words: str, *call) -> str:
    with pytest.raises(InputError, match=words) as caught:
        fetch(*call)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_second_call_removes_what_a_kill_left_and_does_nothing_else(archive, tmp_path, caplog):
    out = tmp_path / "new" / "ade"
    fetch("ade20k", out, archive)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    shutil.rmtree(archive)
    (tmp_path / "new/.ade.fetch").mkdir()
    (tmp_path / "new/.ade.fetch" / ADE20K.name).write_bytes(b"left after the rename")
    caplog.set_level("INFO")
    fetch("ade20k", out)
    assert "nothing to do" in caplog.text and list(out.parent.iterdir()) == [out]
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


def test_a_linked_folder_is_followed(archive, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "ade").symlink_to(tmp_path / "disk")
    fetch("ade20k", tmp_path / "ade", archive)
    assert (tmp_path / "ade").is_symlink() and layout.problem("ade20k", tmp_path / "disk") is None


@pytest.fixture
def mirror(archive):
    requests = collections.Counter()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=str(archive))

        def log_message(self, *words):
            requests[self.path] += 1

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("name", "named"), [("ade20k", True), ("cityscapes", True), ("ade20k", False)])
def test_from_a_mirror_or_its_own_address(mirror, tmp_path, monkeypatch, name, named):
    benchmark, out = BENCHMARKS[name], tmp_path / "new" / name
    moved = tuple(source._replace(url=f"{mirror[0]}/{source.name}") for source in benchmark.sources)
    if not named:
        monkeypatch.setitem(BENCHMARKS, name, benchmark._replace(sources=moved))
    fetch(name, out, mirror[0] + "/" if named else None)
    assert layout.problem(name, out) is None
    assert list(out.parent.iterdir()) == [out], "archives and scratch are gone"


def test_a_call_killed_while_unpacking_is_continued_without_a_second_download(mirror, tmp_path, monkeypatch):
    unpack = archives.unpack

    def killed(archive, out, files):
        unpack(archive, out, files)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(archives, "unpack", killed)
        fetch("ade20k", tmp_path / "new/ade", mirror[0])
    assert not (tmp_path / "new/ade").exists()
    # What a kill without a chance to clean up would have left.
    (tmp_path / "new/.ade.fetch/tree/images/training").mkdir(parents=True)
    (tmp_path / "new/.ade.fetch/tree/images/training/half.jpg").write_bytes(b"\xff\xd8")
    fetch("ade20k", tmp_path / "new/ade", mirror[0])
    assert mirror[1] == {f"/{ADE20K.name}": 1}
    assert not list(tmp_path.rglob("half.jpg")) and [path.name for path in (tmp_path / "new").iterdir()] == ["ade"]


def test_two_at_once(archive, tmp_path):
    with obtain._exclusive(tmp_path / ".ade.fetch"):
        refused("another fetch is running there", "ade20k", tmp_path / "ade", archive)
        assert (tmp_path / ".ade.fetch").exists()
    assert not (tmp_path / ".ade.fetch").exists() and not (tmp_path / "ade").exists()


def test_a_wrong_archive_is_downloaded_again(mirror, archive, tmp_path):
    right = (archive / ADE20K.name).read_bytes()
    (archive / ADE20K.name).write_bytes(right[:-1] + b"?")
    refused("not the documented file", "ade20k", tmp_path / "new/ade", mirror[0])
    assert not list((tmp_path / "new").iterdir())
    (archive / ADE20K.name).write_bytes(right)
    fetch("ade20k", tmp_path / "new/ade", mirror[0])


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("cityscapes", False, "a login is needed. Register at https://www.cityscapes.* leftImg.* and gtFine.* --from"),
        ("cityscapes", True, "gtFine_trainvaltest.zip: missing; get it from https://www.cityscapes"),
        ("ade20k", True, f"{ADE20K.name}: missing; get it from http://data.csail"),
        ("voc2012", True, r"pip install 'dkd\[sbd\]', or .* --masks"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_written(archive, tmp_path, monkeypatch, name, given, words):
    monkeypatch.setitem(sys.modules, "scipy", None)
    (archive / ADE20K.name).unlink()
    (archive / "gtFine_trainvaltest.zip").unlink()
    refused(words, name, tmp_path / "new" / name, archive if given else None)
    assert not (tmp_path / "new").exists()


def test_space_counts_what_is_still_to_be_downloaded(archive, tmp_path, monkeypatch):
    benchmark = BENCHMARKS["voc2012"]
    voc, sbd = (source._replace(size=1_000_000) for source in benchmark.sources)
    monkeypatch.setitem(BENCHMARKS, "voc2012", benchmark._replace(sources=(voc, sbd)))
    work = tmp_path / ".voc.fetch"
    work.mkdir()
    (work / voc.name).write_bytes(bytes(1_000_000))
    (work / f"{sbd.name}.part").write_bytes(bytes(400_000))
    usage = collections.namedtuple("usage", "free")
    for free, words in (
        (699_999, "needs 0.0 GB, 0.0 GB are free; make room"),
        (700_000, "it is not the expected archive"),
    ):
        monkeypatch.setattr(obtain.shutil, "disk_usage", lambda place, free=free: usage(free))
        refused(words, "voc2012", tmp_path / "voc", "http://127.0.0.1:9")
    assert not (tmp_path / "voc").exists()


def test_a_damaged_or_incomplete_archive_of_the_user_stays(archive, tmp_path, monkeypatch):
    benchmark, path = BENCHMARKS["ade20k"], archive / ADE20K.name
    monkeypatch.setitem(BENCHMARKS, "ade20k", benchmark._replace(counts={"training": 3, "validation": 1}))
    refused("training: 2 images, expected 3", "ade20k", tmp_path / "new/ade", archive)
    path.write_bytes(path.read_bytes()[:-9])
    refused(f"{path}: not the documented file", "ade20k", tmp_path / "new/ade", archive)
    assert path.exists() and not list((tmp_path / "new").iterdir())


def test_something_else_is_there(archive, masks, tmp_path):
    fetch("ade20k", tmp_path / "ade", archive)
    path = tmp_path / "ade/annotations/training/ADE_train_00000002.png"
    path.unlink()
    words = "not a complete ade20k .annotations/training/ADE_train_00000002.png: No such file"
    refused(words, "ade20k", tmp_path / "ade", archive)
    path.touch()
    refused("ADE_train_00000002.png is empty", "ade20k", tmp_path / "ade", archive)
    refused("not a complete voc2012 .ImageSets", "voc2012", tmp_path / "ade", archive)
    fetch("voc2012", tmp_path / "voc", archive, masks)
    path = tmp_path / "voc/ImageSets/Segmentation/trainaug.txt"
    path.write_text("caf\u00e9\n", encoding="latin-1")
    refused(f"{path}: not UTF-8 text; it lists", "voc2012", tmp_path / "voc")


def test_masks_that_are_none(archive, masks, tmp_path):
    (tmp_path / "empty").mkdir()
    refused("contains neither .png files nor", "voc2012", tmp_path / "new/voc", archive, tmp_path / "empty")
    refused("No such file", "voc2012", tmp_path / "new/voc", archive, tmp_path / "none")
    os.mkfifo(tmp_path / "pipe.zip")
    refused("pipe.zip: is neither a folder nor a file", "voc2012", tmp_path / "new/voc", archive, tmp_path / "pipe.zip")
    refused("only voc2012 takes ready masks", "ade20k", tmp_path / "new/ade", archive, tmp_path / "empty")
    write_archive(tmp_path / "other.zip", {"a.png": png(mask(3))})
    refused("contains no file", "voc2012", tmp_path / "new/voc", archive, tmp_path / "other.zip")
    (masks / "2008_000002.png").write_bytes(png(mask(3), "RGB"))
    words = f"{masks / '2008_000002.png'}: mask is in colours"
    refused(words, "voc2012", tmp_path / "new/voc", archive, masks)
    assert not list((tmp_path / "new").iterdir())


def test_the_command(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dkd", "fetch", "ade20k", "--from", str(archive)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code in (0, None) and layout.problem("ade20k", tmp_path / "data/raw/ade20k") is None
    monkeypatch.setattr(sys, "argv", ["dkd", "fetch", "ade2k"])
    with pytest.raises(SystemExit, match="dkd: DATASET: unknown data set 'ade2k'; did you mean 'ade20k'"):
        cli.main()
