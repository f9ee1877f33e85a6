"""labelme's JSON, as its versions 3 to 5 write it."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from dkd.errors import InputError
from tests.dkd.convert.conftest import photo


def shape(label, kind, points, **more):
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **more,
    }


def write(path, *shapes, image=None, data=None, width=20, height=16, **more):
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image or f"{path.stem}.jpg",
        "imageData": data,
        "imageHeight": height,
        "imageWidth": width,
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


ROSE = shape("rose", "polygon", [[2, 3], [9, 3], [9, 8], [2, 8]])


@pytest.fixture
def pair(export):
    for name in ("a", "b"):
        photo(export / f"{name}.jpg", 20, 16)
        write(export / f"{name}.json", ROSE)
    return export


def test_every_kind_of_shape(export, made):
    stamp = np.array([[True, False, True], [True, True, False]])
    shapes = (
        shape("rect", "rectangle", [[9.0, 8.0], [2.0, 3.0]]),
        shape("circle", "circle", [[20, 8], [20, 11]]),
        shape("mask", "mask", [[30, 1], [32, 2]], mask=png(stamp)),
        shape("point", "point", [[50, 8]]),
        shape("line", "line", [[0, 30], [20, 30]]),
        shape("strip", "linestrip", [[30, 30], [40, 30], [50, 30]]),
        shape("__ignore__", "polygon", [[2, 3], [4, 3], [4, 4], [2, 4]]),
        shape("_background_", "polygon", [[5, 3], [6, 3], [6, 4], [5, 4]]),
    )
    for name in "ab":
        photo(export / f"{name}.jpg", 60, 40)
        write(export / f"{name}.json", *shapes, width=60, height=40)
    found = made()
    assert found.names == ("background", "circle", "line", "mask", "point", "rect", "strip")
    mask = found.masks["a"]
    rect = np.zeros((40, 60), dtype=np.uint8)
    rect[3:9, 2:10], rect[3:5, 2:5], rect[3:5, 5:7] = 5, 0, 0
    assert ((mask == 5) == (rect == 5)).all() and (mask[3:5, 2:5] == 255).all() and (mask == 255).sum() == 6
    assert ((mask == 3)[1:3, 30:33] == stamp).all() and (mask == 3).sum() == 4
    y, x = np.mgrid[:40, :60]
    for label, (at, radius) in {1: (20, 3), 4: (50, 5)}.items():
        away = np.hypot(x - at, y - 8)
        assert (mask[away <= radius - 0.5] == label).all() and not (mask[away > radius + 0.5] == label).any()
    for label, left, right in ((2, 0, 20), (6, 30, 50)):
        rows, columns = np.nonzero(mask == label)
        assert len(set(rows)) == 10 and abs(rows.mean() - 30) <= 0.5
        assert columns.min() == left and columns.max() == right


def test_what_is_drawn_is_what_labelme_draws(pair, made):
    """Its own arithmetic: a circle by a point on it, outlines included, later shapes on top."""
    write(pair / "b.json", ROSE, shape("circle", "circle", [[10, 8], [13, 8]]))
    found = made()
    y, x = np.mgrid[:16, :20]
    expected = np.zeros((16, 20), dtype=np.uint8)
    expected[3:9, 2:10] = 2
    within = (x - 10) ** 2 + (y - 8) ** 2
    assert (found.masks["a"] == expected).all()
    assert (found.masks["b"][within <= 8] == 1).all() and not (found.masks["b"][within > 14] == 1).any()
    assert (found.masks["b"][within > 14] == expected[within > 14]).all()


def test_images_elsewhere_on_windows_and_embedded(export, made):
    pixels = photo(export / "photos" / "one" / "IMG 1.png", 20, 16)
    photo(export / "photos" / "two" / "IMG 1.png", 20, 16)
    write(export / "labels" / "x.json", ROSE, image="..\\photos\\one\\IMG 1.png")
    write(export / "labels" / "y.json", ROSE, image="..\\photos\\two\\IMG 1.png", imageHeight=None, imageWidth=None)
    photo(export / "photos" / "two" / "IMG 2.png", 20, 16)
    embedded = np.random.default_rng(3).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    write(export / "labels" / "z.json", ROSE, image="C:\\gone\\z.png", data=png(embedded))
    found = made()
    assert set(found.images) == {"photos_one_IMG_1", "photos_two_IMG_1", "labels_z"}
    assert (found.images["photos_one_IMG_1"] == pixels).all() and (found.images["labels_z"] == embedded).all()
    assert found.summary.unlabelled == 1


def test_old_versions_state_less(pair, made):
    old = {
        "flags": {},
        "shapes": [{"label": "rose", "line_color": None, "fill_color": None, "points": ROSE["points"]}],
        "lineColor": [0, 255, 0, 128],
        "fillColor": [255, 0, 0, 128],
        "imagePath": "b.jpg",
        "imageData": None,
    }
    (pair / "b.json").write_text(json.dumps(old))
    found = made()
    assert found.masks["b"].any() and (found.masks["a"] == found.masks["b"]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"shapes": [shape("rose", "polygon", [[1, 1], [2, 2]])]},
            r"shapes\[0\]\.points: has 2 points, needs 3 or mor",
        ),
        ({"shapes": [shape("rose", "circle", [[1, 1]])]}, r"shapes\[0\]\.points: has 1 points, needs 2;"),
        ({"shapes": [shape("rose", "points", [[1, 1]])]}, r'shapes\[0\]\.shape_type: "points" has no area'),
        ({"shapes": [shape("", "polygon", ROSE["points"])]}, r'shapes\[0\]\.label: "" is no name'),
        ({"shapes": [shape("a\nb", "polygon", ROSE["points"])]}, r'shapes\[0\]\.label: "a\\nb" is no name'),
        ({"shapes": [shape("rose", "polygon", [[1, 1], [2, 2], [3, "x"]])]}, r'shapes\[0\]\.points: "x" is not a num'),
        ({"shapes": [shape("rose", "mask", [[1, 1], [3, 3]], mask="AAAA")]}, r"shapes\[0\]\.mask: not an image"),
        (
            {"shapes": [shape("rose", "mask", [[1, 1], [3, 3]], mask=png(np.eye(2) > 0))]},
            "mask: is 2x2 pixels, its poi",
        ),
        ({"shapes": 3}, "shapes: is 3, not a list"),
        ({"image": "gone.jpg"}, r"b\.json: imagePath: no image 'gone\.jpg'"),
        ({"image": "gone.jpg", "data": "?"}, r'b\.json: imageData: "\?" is not base64'),
        ({"image": "gone.jpg", "data": "AAAA"}, r"b\.json: imageData: can't be read \(not an image\)"),
        ({"image": "a.jpg"}, r"b\.json: its image .*a\.jpg is that of .*a\.json too"),
        ({"imageWidth": "wide"}, 'image width: "wide" is not a number'),
    ],
)
def test_what_is_wrong_is_named(pair, made, change, said):
    write(pair / "b.json", **change) if "shapes" not in change else write(pair / "b.json", ROSE, **change)
    with pytest.raises(InputError, match=said):
        made()


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"{", r"b\.json: not JSON"), (b"\xff\xfe{}", r"b\.json: not UTF-8 text"), (b"[]", "holds .*, not an object")],
)
def test_a_file_that_is_not_labelmes_is_named(pair, made, text, said):
    (pair / "b.json").write_bytes(text)
    with pytest.raises(InputError, match=said):
        made()


def test_json_of_something_else_is_not_passed_over(pair, made):
    (pair / "package.json").write_text("{}")
    with pytest.raises(InputError, match=r"package\.json: shapes: missing, so labelme did not write it"):
        made()
