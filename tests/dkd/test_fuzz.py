"""Whatever stands in params, lists, masks, indexes, tasks and step.json is read, or refused in one line.

740 examples in all, the same in every run.
"""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dkd import checkpoint
from dkd.config import read
from dkd.config.schema import TOP, Item
from dkd.data import index, reader, shapes, tasks
from dkd.errors import InputError
from dkd.training.data import read_task
from tests.dkd.command import CommandError, run
from tests.dkd.conftest import prepare
from tests.dkd.use.conftest import save

NUMBERS = st.one_of(
    st.integers(-3, 20),
    st.sampled_from([2**31, 2**63 - 1, 10**30]),
    st.floats(),
    st.floats(-1, 2),
)
WORDS = st.one_of(
    st.sampled_from(["", "test_resnet", "test_vit", "resnet99", "seed:3", "4-1", "../x", "\ud800"]), st.text()
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=2)),
    max_leaves=5,
)
RUN = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}
PATHS = [
    *[("runs", 0, key) for key in (*Item.model_fields, "more")],
    *[(section,) for section in (*TOP, "runs", "more")],
    *[(section, key) for section, model in TOP.items() for key in model.model_fields],
    *[("runs", 0, "set", section) for section in TOP],
    ("methods", "dkd", "kd"),
    ("data", "shapes", "size"),
    ("base", "batch"),
    ("increment", "steps", "1"),
    ("increment", "steps", "2", "epochs"),
]
QUICK = {
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


def put(tree, path, value):
    """Set the value at a path, with empty maps on the way there."""
    *above, last = path
    for key in above:
        tree = tree[key] if isinstance(key, int) else tree.setdefault(key, {})
    tree[last] = value


def read_or_refused(call, *given):
    try:
        return call(*given)
    except InputError as error:
        line = str(error)
        assert line and "\n" not in line and len(line) < 1000, line
        line.encode()


@settings(**QUICK, max_examples=180)
@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=2))
def test_any_params(tmp_path, changes):
    content = {"runs": [dict(RUN)]}
    for path, value in changes:
        try:
            put(content, path, value)
        except (AttributeError, TypeError, KeyError, IndexError):
            continue  # The first change has put something else there.
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(content))
    read_or_refused(read.load, path)


@settings(**QUICK, max_examples=40)
@given(st.text(max_size=60))
def test_any_text_as_params(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read_or_refused(read.load, path)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save(tmp_path_factory.mktemp("fuzz") / "good", (3, 1, 6), (2, 1))


STEP = [
    *[(key,) for key in (*checkpoint.CHECKS, "more")],
    *[("model", key) for key in (*checkpoint.spec.CHECKS, "more")],
]


@settings(**QUICK, max_examples=120)
@given(change=st.tuples(st.sampled_from(STEP), VALUES))
def test_any_step(good, change):
    path = good / "step.json"
    before = path.read_bytes()
    content = json.loads(before)
    put(content, *change)
    path.write_text(json.dumps(content))
    try:
        read_or_refused(checkpoint.load, good, "cpu")
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Index and tasks of a small data set, and what is in them."""
    place = tmp_path_factory.mktemp("fuzz-tables")
    shapes.draw(place / "data", seed=0, size=32, train=12, val=6, objects=(3, 5))
    inputs = prepare(place / "data", place, sizes=(4, 2))
    return inputs, {path: path.read_bytes() for path in place.iterdir() if path.is_file()}


ABOUT = [(key,) for key in (*index.CHECKS, "more")] + [("stored", "3"), ("colours", "#00ff00")]
TASKS = [
    *[(key,) for key in (*tasks.CHECKS, "more")],
    *[("steps", number, key) for number in (0, 1) for key in (*tasks.STEP, "more")],
    ("steps", 1, "train", 0),
]


@settings(**QUICK, max_examples=120)
@given(st.sampled_from([*ABOUT, *TASKS]), VALUES)
def test_any_index_and_tasks(tables, path, value):
    inputs, before = tables
    file = inputs.tasks if path in TASKS else inputs.index.with_suffix(".json")
    content = json.loads(before[file])
    put(content, path, value)
    file.write_text(json.dumps(content))
    try:
        for step in (0, 1):
            read_or_refused(read_task, inputs, step)
    finally:
        file.write_bytes(before[file])


@settings(**QUICK, max_examples=40)
@given(st.integers(0, 4), st.integers(0, 4), st.text(max_size=12), st.binary(max_size=3))
def test_any_table(tables, row, column, text, rest):
    inputs, before = tables
    cells = list(csv.reader(io.StringIO(before[inputs.index].decode())))
    cells[row][column] = text
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(cells)
    try:
        inputs.index.write_bytes(written.getvalue().encode("utf-8", "surrogatepass") + rest)
        table = read_or_refused(index.read, inputs.index)
        assert table is None or len({each.id for each in table.rows}) == len(table.rows)
        read_or_refused(read_task, inputs, 1)
    finally:
        inputs.index.write_bytes(before[inputs.index])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder data set of three images."""
    root = tmp_path_factory.mktemp("fuzz-data") / "data"
    for folder in ("images/a", "masks/a", "splits"):
        (root / folder).mkdir(parents=True)
    for number, id in enumerate(("a/b c", "d", "e.f")):
        Image.new("RGB", (6, 4), (9, 9, 9)).save(root / "images" / f"{id}.JPG")
        Image.new("L", (6, 4), number).save(root / "masks" / f"{id}.png")
    (root / "splits" / "train.txt").write_text("a/b c\nd\n")
    (root / "splits" / "val.txt").write_text("e.f\n")
    (root / "classes.txt").write_text("none\nrose\ntulip\n")
    return root


def indexed(monkeypatch, root, out, *words):
    """Whether `dkd index` accepts a data set; else it says one line and writes nothing."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    try:
        run(monkeypatch, "index", root, "--out", out / "index.csv", *words)
    except CommandError as error:
        line = str(error.code)
        assert line.startswith("dkd: ") and "\n" not in line and len(line) < 1000 and not list(out.iterdir()), line
        return False
    return True


LINES = [
    *["a/b c", "d.jpg", "./images/e.f.JPG", "images/d.JPG masks/d.png", "images\\a\\b c.jpg"] * 2,
    " ",
    "x",
    "d\0",
    "é",
]
LIST = st.one_of(
    st.lists(st.sampled_from(LINES), min_size=1, max_size=3)
    .map("\r\n".join)
    .flatmap(lambda text: st.sampled_from(["utf-8", "utf-8-sig", "utf-8", "utf-16"]).map(text.encode)),
    st.binary(max_size=40),
)
NAMES = st.sampled_from(
    ["none", "rose", "void", "background", "tulip", "rose 1 1 1", "tulip 2 2 2", "x" * 300, "", "\x07"]
)
CLASSES = st.one_of(st.lists(NAMES, max_size=5).map("\n".join).map(str.encode), st.binary(max_size=40))
COLOURS = ["rose:1,1,1::", "tulip:2,2,2::", "void:9,9,9::", "background:0,0,0::", "rose:300,0,0::", "# x", ":1,2,3", ""]
LABELMAP = st.one_of(
    st.lists(st.sampled_from(COLOURS), max_size=4).map("\n".join).map(str.encode), st.binary(max_size=40)
)
FILES = {"splits/train.txt": LIST, "splits/val.txt": LIST, "classes.txt": CLASSES, "labelmap.txt": LABELMAP}


@settings(**QUICK, max_examples=100)
@given(st.sampled_from([*FILES, "splits/test.txt"]), st.data())
def test_any_lists(place, tmp_path, monkeypatch, name, data):
    root = tmp_path / "data"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(place, root)
    (root / name).write_bytes(data.draw(FILES.get(name, LIST)))
    if indexed(monkeypatch, root, tmp_path / "out"):
        table = index.read(tmp_path / "out" / "index.csv")
        assert {row.id for row in table.rows} <= {"a/b c", "d", "e.f"} and table.of("train") and table.of("val")


MODES = {"1": bool, "L": np.uint8, "P": np.uint8, "I;16": np.uint16, "I": np.int32, "F": np.float32}
KINDS = [(mode, kind) for mode in MODES for kind in ("PNG", "TIFF", "BMP", "GIF", "JPEG", "WEBP")]
KINDS += [(mode, kind) for mode in ("RGB", "RGBA", "LA", "CMYK", "PA", "YCbCr", "LAB") for kind in ("PNG", "TIFF")]


def write_mask(path, mode, kind, values, orientation):
    """An image of such a file format; as PNG where Pillow can't write that mode in it."""
    image = Image.fromarray(np.resize(np.array(values), (4, 6)).astype(MODES.get(mode, np.uint8)))
    image = image if mode in MODES else image.convert("RGB").convert(mode) if mode != "PA" else image.convert("LA")
    if mode == "P":
        image.putpalette([part for value in range(256) for part in (value, value, value)])
    exif = Image.Exif()
    exif[reader.ORIENTATION] = orientation
    try:
        image.save(path, kind, **({} if kind in ("BMP", "GIF") else {"exif": exif}))
    except (OSError, KeyError, ValueError):
        image.convert("RGB").convert("L").save(path, "PNG")


@pytest.mark.filterwarnings("ignore:::PIL")
@settings(**QUICK, max_examples=140)
@given(
    st.sampled_from(KINDS),
    st.one_of(*(st.lists(st.integers(0, most), min_size=1, max_size=24) for most in (2, 2, 2, 255, 70000))),
    st.sampled_from([*[(1, 1)] * 4, (3, 1), (6, 1), (1, 6), (6, 6)]),
    st.one_of(*[st.just([])] * 3, st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3)),
    st.sampled_from([[], [], ["--set", "data.void=[0, 7]"], ["--set", "data.labels={rose: [1, 2], void: 0}"]]),
    st.sampled_from(
        [*["none\nrose\ntulip"] * 2, "none\nrose 1 1 1\ntulip 2 2 2", "none 2 2 2\nrose 0 0 0\ntulip 1 1 1"]
    ),
)
def test_any_mask(place, tmp_path, monkeypatch, kind, values, orientations, damage, words, classes):
    root = tmp_path / "data"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(place, root)
    mask, exif = root / "masks" / "d.png", Image.Exif()
    exif[reader.ORIENTATION] = orientations[0]
    Image.new("RGB", (6, 4)).save(root / "images" / "d.JPG", exif=exif)
    write_mask(mask, *kind, values, orientations[1])
    content = bytearray(mask.read_bytes())
    for at, byte in damage:
        content[at % len(content)] = byte
    mask.write_bytes(content)
    (root / "classes.txt").write_text(classes)
    if indexed(monkeypatch, root, tmp_path / "out", *words):
        table = index.read(tmp_path / "out" / "index.csv")
        for row in table.rows:
            pixels, found = reader.read_pair(root / row.image, root / row.mask, table.encoding)
            assert found.shape == pixels.shape[:2], "what the index accepts is read by a training"
