"""Files are labelled into a folder that agrees with the predictions, however often the work is interrupted."""

import csv
import json
import os
import signal
import subprocess
import sys

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from dkd import evaluation
from dkd.data import shapes
from dkd.errors import InputError
from dkd.use import labelling, video
from dkd.use.images import Found, ImageFile
from dkd.use.predict import Predictor
from tests.dkd.command import SOURCE, CommandError, run

from .conftest import save


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return save(tmp_path_factory.mktemp("label") / "checkpoint", (3, 1, 6), (2, 1))


def predictor(folder):
    return Predictor(folder, "cpu", size=None, tile=1024, threads=1)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def label(folder, files, out, workers=0):
    return labelling.write(predictor(folder), Found(files, []), out, workers=workers, every=None, existing="refuse")


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_writes_masks_overlays_and_areas_and_lists_unreadable_files(learned, tmp_path, monkeypatch, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "sub").mkdir(parents=True)
    Image.fromarray(noise(40, 50)).save(photos / "one.png")
    Image.fromarray(noise(30, 20)).save(photos / "sub" / "two.jpg")
    (photos / "bad.jpg").write_bytes(b"\xff\xd8 half an image")
    (photos / "notes.txt").write_text("notes")
    words = "predict", learned, photos, "--out", out, "--device", "cpu"
    with pytest.raises(AssertionError, match=r"bad\.jpg: image can't be read \(not an image\)\ndkd: 1 of 3 "):
        run(monkeypatch, *words)
    assert capsys.readouterr().out.startswith("2 ")
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    pictures = ["masks/one.png", "masks/sub/two.png", "overlays/one.jpg", "overlays/sub/two.jpg"]
    assert written == ["areas.csv", *pictures, "passed-over.csv", "predict.json"]
    with Image.open(out / "masks" / "one.png") as mask:
        assert mask.mode == "P" and mask.size == (50, 40)
        labels = np.array(mask)
        assert mask.getpalette()[:9] == [0, 0, 0, 230, 159, 0, 86, 180, 233]
    assert (labels == predictor(learned)(photos / "one.png")).all()
    with (out / "areas.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["picture"].endswith("one.png")]
    assert {int(row["label"]): int(row["pixels"]) for row in rows} == {
        int(label): int((labels == label).sum()) for label in np.unique(labels)
    }
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-5)
    assert all(row["class"] == shapes.SHAPES[int(row["label"])] for row in rows)
    with Image.open(out / "overlays" / "one.jpg") as shown:
        assert shown.height > 40, "the legend is below the image"
    with pytest.raises(AssertionError, match="out: exists already"):
        run(monkeypatch, *words)


@pytest.mark.parametrize("finished", [0, 2])
def test_a_stopped_prediction_lists_what_is_done(learned, tmp_path, monkeypatch, finished):
    for name in "abc":
        Image.fromarray(noise(20, 30)).save(tmp_path / f"{name}.png")
    original, left = evaluation.predict, [signal.SIGTERM, *[0] * finished]

    def stopped(model, batch):
        if number := left.pop():
            signal.raise_signal(number)
        return original(model, batch)

    monkeypatch.setattr(evaluation, "predict", stopped)
    with pytest.raises(CommandError) as caught:
        run(monkeypatch, "predict", learned, *(tmp_path / f"{name}.png" for name in "abc"), "--out", tmp_path / "out")
    assert caught.value.code == 143
    if finished:
        rows = (tmp_path / "out" / "areas.csv").read_text().splitlines()[1:]
        assert {row.split(",")[0] for row in rows} == {str(tmp_path / "a.png"), str(tmp_path / "b.png")}
        assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.png", "b.png"]
    else:
        assert not (tmp_path / "out").exists()


INTERRUPTED = """
import os, signal
from dkd import cli, evaluation
original, calls = evaluation.predict, []
def predict(model, batch):
    calls.append(1)
    if len(calls) == 3:
        os.killpg(0, signal.SIGINT)
    return original(model, batch)
evaluation.predict = predict
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.main()
"""


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_that_load_images(learned, tmp_path):
    """A terminal sends the signal to each of them."""
    (tmp_path / "photos").mkdir()
    for number in range(9):
        Image.fromarray(noise(20, 30)).save(tmp_path / "photos" / f"{number}.png")
    words = ["predict", learned, tmp_path / "photos", "--out", tmp_path / "out", "--workers", "2", "--device", "cpu"]
    command = [sys.executable, "-c", INTERRUPTED, *map(str, words)]
    env = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(command, env=env, capture_output=True, text=True, start_new_session=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["0.png", "1.png"]
    assert len((tmp_path / "out" / "areas.csv").read_text().splitlines()) > 2
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "out"}


def test_masks_do_not_depend_on_the_number_of_workers(learned, tmp_path):
    for name in "ab":
        Image.fromarray(noise(20, 30, ord(name))).save(tmp_path / f"{name}.png")
    files = [ImageFile(tmp_path / f"{name}.png", name) for name in "ab"]
    for workers in (0, 2):
        assert label(learned, files, tmp_path / f"out{workers}", workers=workers).done == 2
    for name in "ab":
        first, second = (tmp_path / f"out{workers}" / "masks" / f"{name}.png" for workers in (0, 2))
        assert first.read_bytes() == second.read_bytes()


@pytest.fixture
def photos(tmp_path):
    """Three photos and a text."""
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate("abc"):
        Image.fromarray(noise(20, 30, seed)).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "notes.txt").write_text("notes")
    return tmp_path / "photos"


def test_an_interrupted_call_continues_with_the_same_result(learned, photos, tmp_path, monkeypatch, capsys):
    words = "predict", learned, photos, "--device", "cpu", "--out"
    run(monkeypatch, *words, tmp_path / "whole")
    original, left = evaluation.predict, [signal.SIGTERM, 0]

    def stopped(model, batch):
        if left and (number := left.pop()):
            signal.raise_signal(number)
        return original(model, batch)

    monkeypatch.setattr(evaluation, "predict", stopped)
    with pytest.raises(CommandError):
        run(monkeypatch, *words, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.png"]
    first = (tmp_path / "out" / "masks" / "a.png").stat().st_mtime_ns
    capsys.readouterr()
    run(monkeypatch, *words, tmp_path / "out", "--existing", "continue")
    assert capsys.readouterr().out.startswith("2 images in ")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert (tmp_path / "out" / "masks" / "a.png").stat().st_mtime_ns == first, "it is not labelled again"


def test_continuing_takes_the_same_call(learned, photos, tmp_path, monkeypatch):
    words = "predict", learned, photos, "--device", "cpu", "--out", tmp_path / "out"
    run(monkeypatch, *words)
    before = content(tmp_path / "out")
    other = save(tmp_path / "other", (3, 1, 6), (2, 1), seed=1)
    for call, key in (
        ((*words, "--size", 16), "size"),
        ((*words, photos / "a.png"), "images"),
        (("predict", other, *words[2:]), "checkpoint"),
    ):
        with pytest.raises(AssertionError, match=f"out: was written with other values of '{key}'; repeat that call"):
            run(monkeypatch, *call, "--existing", "continue")
    with pytest.raises(AssertionError, match="out: exists already"):
        run(monkeypatch, *words)
    with pytest.raises(AssertionError, match=r"--existing: unknown word 'replace'; known: "):
        run(monkeypatch, *words, "--existing", "replace")
    assert content(tmp_path / "out") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "masks").write_text("mine")
    for word in ("continue", "overwrite"):
        with pytest.raises(
            AssertionError, match=r"mine: was not written by `dkd predict` \(predict\.json is missing\)"
        ):
            run(monkeypatch, *words[:-1], tmp_path / "mine", "--existing", word)
    assert (tmp_path / "mine" / "masks").read_text() == "mine"
    (photos / "c.png").unlink()
    run(monkeypatch, "predict", other, *words[2:], "--existing", "overwrite")
    run(monkeypatch, "predict", other, photos, "--device", "cpu", "--out", tmp_path / "new")
    assert content(tmp_path / "out") == content(tmp_path / "new"), "nothing of the earlier call is left"


KILLED = """
import os, signal
from dkd import cli, evaluation
original, calls = evaluation.predict, []
def predict(model, batch):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(model, batch)
evaluation.predict = predict
cli.main()
"""


@pytest.mark.slow
def test_what_was_killed_while_it_overwrote_continues_with_the_same_result(learned, photos, tmp_path, monkeypatch):
    other = save(tmp_path / "other", (3, 1, 6), (2, 1), seed=1)
    words = photos, "--device", "cpu", "--out"
    run(monkeypatch, "predict", learned, *words, tmp_path / "out")
    run(monkeypatch, "predict", other, *words, tmp_path / "whole")
    command = [sys.executable, "-c", KILLED, "predict", other, *words, tmp_path / "out", "--existing", "overwrite"]
    done = subprocess.run(list(map(str, command)), env={**os.environ, "PYTHONPATH": SOURCE}, check=False)
    assert done.returncode == -signal.SIGKILL and (tmp_path / "out" / "masks" / "a.png").is_file()
    run(monkeypatch, "predict", other, *words, tmp_path / "out", "--existing", "continue")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_what_is_passed_over_is_named(learned, photos, tmp_path, monkeypatch, capsys):
    (photos / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(AssertionError, match="1 of 4 images could not be read"):
        run(monkeypatch, "predict", learned, photos, "--device", "cpu", "--out", tmp_path / "out")
    assert f"1 other file passed over, see {tmp_path / 'out' / 'passed-over.csv'}" in capsys.readouterr().out
    with (tmp_path / "out" / "passed-over.csv").open() as table:
        rows = list(csv.reader(table))
    assert rows[:2] == [["file", "reason"], [str(photos / "notes.txt"), "no suffix of an image"]]
    assert rows[2][0] == str(photos / "bad.jpg") and "can't be read (not an image)" in rows[2][1] and len(rows) == 3


def film(path, frames):
    """Frames without loss, so that their pixels are known."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def test_frames_of_a_video_are_labelled(learned, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    frames = [noise(24, 32, seed) for seed in range(7)]
    film(tmp_path / "in" / "film.mkv", frames)
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no video")
    Image.fromarray(noise(20, 30)).save(tmp_path / "in" / "photo.png")
    words = "predict", learned, tmp_path / "in", "--device", "cpu", "--every", 3, "--out", tmp_path / "out"
    with pytest.raises(AssertionError, match=r"broken\.mp4: video can't be read \(.*\)\ndkd: 1 of 3 images"):
        run(monkeypatch, *words)
    masks = sorted(
        path.relative_to(tmp_path / "out" / "masks").as_posix() for path in tmp_path.glob("out/masks/**/*.png")
    )
    assert masks == ["film.mkv/000000.png", "film.mkv/000003.png", "film.mkv/000006.png", "photo.png"]
    for number in (0, 3, 6):
        with Image.open(tmp_path / "out" / "masks" / "film.mkv" / f"{number:06d}.png") as mask:
            assert np.array_equal(np.array(mask), predictor(learned)(frames[number]))
    with (tmp_path / "out" / "areas.csv").open() as table:
        pictures = {row["picture"] for row in csv.DictReader(table)}
    film_path = tmp_path / "in" / "film.mkv"
    assert pictures == {*(f"{film_path}#{number}" for number in (0, 3, 6)), str(tmp_path / "in" / "photo.png")}
    before = content(tmp_path / "out")
    monkeypatch.setattr(evaluation, "predict", lambda *_: pytest.fail("all frames are labelled"))
    with pytest.raises(AssertionError, match="1 of 3 images"):
        run(monkeypatch, *words, "--existing", "continue")
    assert content(tmp_path / "out") == before


def test_a_video_without_pictures_or_package_is_one_line(tmp_path, monkeypatch):
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(InputError, match=r"sound\.mkv: video has no pictures"):
        list(video.frames(tmp_path / "sound.mkv", 1))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r'need the package av; pip install -e "\.\[video\]"'):
        list(video.frames(tmp_path / "sound.mkv", 1))


def test_frames_are_turned_as_players_do():
    image = noise(4, 6)
    assert np.array_equal(video.upright(image, 0), image)
    assert np.array_equal(video.upright(image, -90), np.rot90(image, -1)), "clockwise"
    assert np.array_equal(video.upright(image, 180), image[::-1, ::-1])


def test_heic_is_read_upright(learned, tmp_path, monkeypatch):
    """As a phone writes it: sideways, with an orientation."""
    pixels = np.repeat(np.repeat(noise(3, 4), 16, axis=0), 16, axis=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "a.heic", quality=-1, exif=exif.tobytes())
    run(monkeypatch, "predict", learned, tmp_path / "a.heic", "--device", "cpu", "--out", tmp_path / "out")
    with Image.open(tmp_path / "out" / "masks" / "a.png") as mask:
        assert mask.size == (48, 64)
        found = np.array(mask)
    assert (found == predictor(learned)(np.ascontiguousarray(np.rot90(pixels, -1)))).mean() > 0.95


def test_logs_without_a_terminal_tell_the_progress(learned, tmp_path, caplog):
    files = []
    for number in range(20):
        Image.fromarray(noise(8, 8, number)).save(tmp_path / f"{number}.png")
        files.append(ImageFile(tmp_path / f"{number}.png", str(number)))
    with caplog.at_level("INFO", "dkd"):
        label(learned, files, tmp_path / "out")
    assert [record.getMessage() for record in caplog.records if "files" in record.getMessage()] == [
        f"predict: {number} of 20 files" for number in range(2, 21, 2)
    ]
    assert json.loads((tmp_path / "out" / "predict.json").read_text())["tile"] == 1024
