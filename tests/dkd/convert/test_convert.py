"""What is the same for every tool: upright images, ids, the split, which format it is, and that nothing is left."""

import itertools
import json
import os
import signal
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dkd.convert import convert, rle
from dkd.convert.write import ids
from dkd.data.division import divide
from dkd.errors import InputError
from tests.dkd.command import CommandError, run
from tests.dkd.convert import test_coco, test_labelme
from tests.dkd.convert.conftest import photo, read

ROSE = test_labelme.ROSE


def labelme(export, name, **more):
    test_labelme.write(export / f"{name}.json", ROSE, **more)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("stored", [False, True])
def test_images_come_out_upright_with_their_mask(export, made, orientation, stored):
    """The mask of a tool that shows photos upright is kept; one of the stored size is turned with its photo."""
    for name in ("a", "b"):
        photo(export / f"{name}.png", 20, 16, orientation)
    swaps = orientation > 4
    size = (16, 20) if swaps and not stored else (20, 16)
    for name in ("a", "b"):
        labelme(export, name, image=f"{name}.png", width=size[0], height=size[1])
    found = made()
    drawn = np.zeros(size[::-1], dtype=np.uint8)
    drawn[3:9, 2:10] = 1
    with Image.open(export / "a.png") as image:
        upright = np.array(ImageOps.exif_transpose(image))
        mask = Image.fromarray(drawn)
        if swaps and stored:
            mask.getexif()[0x0112] = orientation
            mask = ImageOps.exif_transpose(mask)
    assert (found.images["a"] == upright).all() and (found.masks["a"] == np.array(mask)).all()
    assert found.summary.turned == (2 if orientation > 1 else 0)


def test_another_size_names_exif(export, made):
    photo(export / "a.jpg", 20, 16, 6)
    photo(export / "b.jpg", 20, 16)
    labelme(export, "a", width=18)
    labelme(export, "b")
    said = r"a\.json: is for an image of 18x16 pixels, .*a\.jpg has 20x16 as stored and 16x20 turned as its EXIF says"
    with pytest.raises(InputError, match=said):
        made()


def test_what_needs_no_change_is_copied_and_the_rest_is_shown_as_people_see_it(export, made):
    for name in ("plain.jpg", "capital.PNG", "turned.jpg"):
        photo(export / name, 20, 16, 3 if name == "turned.jpg" else None)
    Image.new("RGBA", (20, 16), (200, 0, 0, 0)).save(export / "clear.png")
    Image.fromarray(np.full((16, 20), 32768, dtype=np.uint16)).save(export / "deep.png")
    photo(export / "web.webp", 20, 16, lossless=True)
    for name in ("plain.jpg", "capital.PNG", "turned.jpg", "clear.png", "deep.png", "web.webp"):
        labelme(export, name.split(".")[0], image=name)
    found = made()
    stored = {path.name for path in (found.root / "images").iterdir()}
    assert stored == {"plain.jpg", "capital.png", "turned.jpg", "clear.png", "deep.png", "web.png"}
    assert (found.root / "images" / "plain.jpg").read_bytes() == (export / "plain.jpg").read_bytes()
    assert (found.root / "images" / "capital.png").read_bytes() == (export / "capital.PNG").read_bytes()
    assert (found.images["clear"] == 255).all() and (found.images["deep"] == 128).all()


@pytest.mark.parametrize("content", [b"no image", None])
def test_a_damaged_image_is_named(export, made, content):
    for name in ("a", "b"):
        photo(export / f"{name}.png", 20, 16)
        labelme(export, name, image=f"{name}.png")
    path = export / "b.png"
    path.write_bytes(content or path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"export/b\.png: "):
        made()


def test_ids_do_not_collide(tmp_path):
    names = ["x/a b.jpg", "x/a_b.png", "x_a/b.jpg", "x/A B.jpg", "Größe\u3000,1.jpg"]
    found = ids([tmp_path / name for name in names])
    assert found == ["x_a_b-2", "x_a_b-3", "x_a_b-4", "x_A_B", "Größe_,1"]
    assert ids([tmp_path / "deep/down/a.jpg", tmp_path / "deep/down/b.v2.jpg"]) == ["a", "b.v2"]


def test_a_name_that_is_no_text_is_refused(export, made):
    for name in (b"a", b"\xff"):
        photo(export / f"{os.fsdecode(name)}.jpg", 20, 16)
    test_labelme.write(export / "a.json", ROSE)
    test_labelme.write(
        export / os.fsdecode(b"\xff.json"), ROSE, image="gone", data=test_labelme.png(np.eye(20)[:16] > 0)
    )
    with pytest.raises(InputError, match="is not UTF-8 text; rename it"):
        made()


def test_the_format_has_to_be_clear(export, made, tmp_path):
    with pytest.raises(InputError, match=r"export: shows none of the formats coco, labelme, cvat, colour; say which"):
        made()
    photo(export / "a.jpg", 20, 16)
    labelme(export, "a")
    (export / "all.json").write_text(json.dumps(test_coco.content()))
    with pytest.raises(
        InputError, match=r"may be labelme \(.*a\.json\), coco \(.*all\.json\); say which with --format"
    ):
        made()
    with pytest.raises(InputError, match="unknown format 'voc'; known are auto, coco"):
        made("voc")
    with pytest.raises(InputError, match=r"holds no \.xml file, which cvat exports"):
        made("cvat")


def test_places_and_shares_that_do_not_do(export, made, tmp_path):
    photo(export / "a.jpg", 20, 16)
    labelme(export, "a")
    with pytest.raises(InputError, match="1 labelled images; two are needed"):
        made()
    with pytest.raises(InputError, match=r"--split: 1\.0 is not between 0 and 1"):
        made(split=1.0)
    with pytest.raises(InputError, match="nowhere: No such file"):
        made(source=tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"):
        convert(export, tmp_path, format="auto", split=0.5, seed=0)
    with pytest.raises(InputError, match=r"--out: .* lies within the export"):
        convert(export, export / "x" / "made", format="auto", split=0.5, seed=0)
    photo(export / "b.jpg", 20, 16)
    for name in "ab":
        test_labelme.write(export / f"{name}.json")
    with pytest.raises(InputError, match="no class in it"):
        made()


def test_without_pycocotools_the_extra_is_named(export, made, monkeypatch):
    (export / "all.json").write_text(json.dumps(test_coco.content()))
    monkeypatch.setattr(rle, "coco_mask", None)
    with pytest.raises(InputError, match=r"pip install 'dkd\[convert\]'"):
        made()


def test_a_stopped_conversion_leaves_nothing(export, tmp_path, monkeypatch):
    for name in "ab":
        photo(export / f"{name}.jpg", 20, 16)
        labelme(export, name)
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["dkd.convert.write"], "divide", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(CommandError) as caught:
        run(monkeypatch, "convert", export, "--out", tmp_path / "out" / "made")
    assert caught.value.code == 143 and not list((tmp_path / "out").iterdir())


def test_the_command_says_what_it_made(export, tmp_path, monkeypatch, capsys):
    for name in ("a", "b", "c"):
        photo(export / f"{name}.jpg", 16, 20, 6 if name == "a" else None)
        if name != "c":
            labelme(export, name, width=20 if name == "a" else 16, height=16 if name == "a" else 20)
    run(monkeypatch, "convert", export, "--out", tmp_path / "made", "--split", "0.5")
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.endswith("made: 1 images for training, 1 for validation, 1 classes (labelme)")
    assert rest == [
        "  1 images turned upright, as their EXIF says",
        "  1 images not labelled: left out",
    ]


# -- the split

SHOWN = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=4), st.frozensets(st.integers(1, 6), max_size=4), min_size=2, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(SHOWN, st.floats(0.05, 0.95), st.integers(0, 5))
def test_every_class_is_trained_and_judged_where_it_can_be(shown, share, seed):
    train, val = divide(shown, share, seed)
    assert train and val and sorted(train + val) == sorted(shown)
    # Neither the order of files nor that of classes within an image matters.
    assert divide(dict(reversed(shown.items())), share, seed) == (train, val)
    singles = [label for label in range(1, 7) if sum(label in labels for labels in shown.values()) == 1]
    if all(not set(labels).isdisjoint(singles) for labels in shown.values()):
        return  # Nothing can be spared.
    left = Counter(label for id in train for label in shown[id])
    judged = {label for id in val for label in shown[id]}
    for label in set().union(*shown.values()):
        assert left[label]
        # One that is not judged is seen only where each image is the last that some class is learned from.
        assert label in judged or all(min(left[each] for each in shown[id]) == 1 for id in train if label in shown[id])


def test_the_split_is_close_to_the_share_in_every_class():
    rng = np.random.default_rng(0)
    frequency = (0.5, 0.2, 0.1, 0.05, 0.02)
    shown = {f"{k:04d}": [c for c, share in enumerate(frequency, 1) if rng.random() < share] for k in range(1000)}
    train, val = divide(shown, 0.8, 0)
    assert abs(len(val) - 200) <= 5
    for label in range(1, 6):
        every = sum(label in labels for labels in shown.values())
        assert abs(sum(label in shown[id] for id in val) - 0.2 * every) <= 2
    assert divide(shown, 0.8, 1) != (train, val)


def test_the_split_is_the_same_on_every_machine():
    shown = {f"p{k}": [1 + k % 3] for k in range(10)}
    assert divide(shown, 0.7, 0)[1] == ["p2", "p4", "p6"]


# -- whatever a file holds

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([0, 1, 2, 1e300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
COCO = test_coco.content(
    *test_coco.BASIC, test_coco.annotation(3, 1, 1, {"counts": [6, 6, 36], "size": [6, 8]}, iscrowd=1)
)
LABELME = {
    "shapes": [ROSE, test_labelme.shape("x", "circle", [[3, 3], [4, 4]])],
    "imagePath": "images/a.jpg",
    "imageData": None,
    "imageHeight": 6,
    "imageWidth": 8,
}
numbers = itertools.count()


def places(content, path=()):
    """The way to every value in a JSON document."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    yield path
    for key, each in inner:
        yield from places(each, (*path, key))


def changed(content, path, value):
    if not path:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


@pytest.fixture(scope="module")
def lying(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    for name in ("a", "b"):
        photo(root / "export" / "images" / f"{name}.jpg")
    return root


def attempt(root, name, content: bytes, format):
    path = root / "export" / name
    path.write_bytes(content)
    out = root / f"made{next(numbers)}"
    try:
        read(out, convert(path, out, format=format, split=0.5, seed=0))
    except InputError as error:
        assert not out.exists() and str(error)
    finally:
        path.unlink()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_json_with_any_value_anywhere(lying, data):
    format, content = data.draw(st.sampled_from([("coco", COCO), ("labelme", LABELME)]))
    path = data.draw(st.sampled_from(list(places(content))))
    text = json.dumps(changed(content, path, data.draw(VALUES)))
    attempt(lying, "x.json", text.encode(), format)


ELEMENTS = (
    '<polygon label="x" points="1,1;5,1;5,4" z_order="0"/>',
    '<box label="x" xtl="1" ytl="1" xbr="3" ybr="3" rotation="10"/>',
    '<mask label="y" rle="1, 2, 3" left="2" top="3" width="3" height="2"/>',
    '<ellipse label="y" cx="3" cy="3" rx="2" ry="1"/>',
)
XML = (
    "<annotations><meta><task><labels><label><name>x</name></label></labels></task></meta>"
    f'<image id="0" name="a.jpg" width="8" height="6">{"".join(ELEMENTS)}</image>'
    f'<image id="1" name="b.jpg" width="8" height="6">{ELEMENTS[0]}</image></annotations>'
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_xml_with_any_text_anywhere(lying, data):
    start = data.draw(st.integers(0, len(XML)))
    end = data.draw(st.integers(start, min(len(XML), start + 12)))
    word = data.draw(
        st.sampled_from(["nan", "-1", "1e99", "9" * 5000, "", "<", "&x;", '" z="', "½"]) | st.text(max_size=4)
    )
    attempt(lying, "x.xml", (XML[:start] + word + XML[end:]).encode("utf-8", "surrogatepass"), "cvat")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(["coco", "labelme", "cvat", "auto"]))
def test_any_bytes(lying, content, format):
    attempt(lying, "x.xml" if format == "cvat" else "x.json", content, format)


def test_nesting_without_end(lying):
    attempt(lying, "x.json", b'{"shapes":' + b"[" * 100_000, "labelme")
