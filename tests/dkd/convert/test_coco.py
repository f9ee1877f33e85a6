"""COCO's instances, as CVAT, Label Studio, Roboflow and COCO itself write them."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from dkd.errors import InputError
from tests.dkd.convert.conftest import photo


def polygon(left, top, right, bottom):
    return [float(value) for value in (left, top, right, top, right, bottom, left, bottom)]


def annotation(id, image, category, segmentation, **more):
    """With the keys that CVAT and COCO write."""
    return {
        "id": id,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "area": 1.0,
        "bbox": [0.0, 0.0, 1.0, 1.0],
        "iscrowd": 0,
        **more,
    }


def content(*annotations, names=("a.jpg", "b.jpg")):
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [
            {"id": 3, "name": "rose, red", "supercategory": ""},
            {"id": 1, "name": "Bäume", "supercategory": ""},
            {"id": 7, "name": "never drawn", "supercategory": ""},
        ],
        "images": [
            {
                "id": k,
                "width": 8,
                "height": 6,
                "file_name": name,
                "license": 0,
                "flickr_url": "",
                "coco_url": "",
                "date_captured": 0,
            }
            for k, name in enumerate(names, 1)
        ],
        "annotations": list(annotations),
    }


BASIC = (annotation(1, 1, 3, [polygon(1, 1, 7, 5)]), annotation(2, 2, 1, [polygon(0, 0, 2, 2), polygon(4, 4, 8, 6)]))


@pytest.fixture
def written(export):
    """Write annotations as CVAT lays them out: annotations/instances_default.json and images/."""

    def write(given, encoding="utf-8", place="annotations/instances_default.json"):
        path = export / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(given, ensure_ascii=False), encoding=encoding, newline="\r\n")
        return path

    photo(export / "images" / "a.jpg")
    photo(export / "images" / "b.jpg")
    return write


def test_polygons_come_out_to_the_pixel(written, made):
    written(content(*BASIC), encoding="utf-8-sig")
    found = made()
    assert found.names == ("background", "Bäume", "rose, red") and found.summary.unused == ("never drawn",)
    a, b = np.zeros((2, 6, 8), dtype=np.uint8)
    a[1:5, 1:7] = 2
    b[:2, :2] = b[4:, 4:] = 1
    assert (found.masks["a"] == a).all() and (found.masks["b"] == b).all()


def test_polygons_are_those_of_pycocotools(written, made):
    path = written(content(annotation(1, 1, 3, [[0.5, 0.2, 7.3, 1.1, 5.9, 5.6, 2.2, 4.4]]), *BASIC[1:]))
    coco = COCO(path)
    expected = coco.annToMask(coco.loadAnns([1])[0])
    assert 0 < expected.sum() < 48 and ((made().masks["a"] == 2) == expected).all()


def test_run_lengths_plain_and_compressed(written, made):
    region = np.random.default_rng(0).random((6, 8)) < 0.4
    encoded = coco_mask.encode(np.asfortranarray(region.astype(np.uint8)))
    written(
        content(
            # Column by column: 6 pixels of the first, then the second column.
            annotation(1, 1, 1, {"counts": [6, 6, 36], "size": [6, 8]}),
            annotation(2, 2, 3, {"counts": encoded["counts"].decode(), "size": [6, 8]}),
        )
    )
    found = made()
    assert (found.masks["a"] == np.eye(8, dtype=np.uint8)[1]).all()
    assert (found.masks["b"] == 2 * region).all()


def test_long_run_lengths_are_read_as_pycocotools_writes_them():
    from dkd.convert import rle

    rng = np.random.default_rng(1)
    for share in (0.0, 0.001, 0.5, 0.999, 1.0):
        region = rng.random((211, 307)) < share
        counts = coco_mask.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()
        assert (rle.inside(rle.from_counts(counts, 307, 211, "here")) == region).all()


def test_the_smaller_lies_on_top_and_crowds_are_void_below(written, made):
    crowd = {"counts": [0, 12, 36], "size": [6, 8]}
    written(
        content(
            annotation(1, 1, 1, [polygon(3, 2, 5, 4)], area=4.0),
            annotation(2, 1, 3, [polygon(1, 1, 7, 5)], area=24.0),
            annotation(3, 1, 1, crowd, iscrowd=1),
            BASIC[1],
        )
    )
    expected = np.zeros((6, 8), dtype=np.uint8)
    expected[:, :2] = 255
    expected[1:5, 1:7] = 2
    expected[2:4, 3:5] = 1
    assert (made().masks["a"] == expected).all()


def test_names_from_windows_and_from_other_disks(export, written, made):
    written(content(*BASIC, names=("images\\a.jpg", "D:\\work\\garden\\images\\b.jpg")))
    assert set(made().masks) == {"a", "b"}


def test_equal_file_names_in_two_subsets(export, written, made):
    for subset in ("train", "val"):
        photo(export / "images" / subset / "a.jpg")
        written(
            content(BASIC[0], names=("a.jpg",)) if subset == "train" else content(BASIC[0], names=("val/a.jpg",)),
            place=f"annotations/instances_{subset}.json",
        )
    assert set(made().masks) == {"train_a", "val_a"}


def test_a_image_without_annotations_is_background_and_counted(written, made):
    written(content(BASIC[0]))
    found = made()
    assert not found.masks["b"].any() and found.summary.empty == 1


def test_one_file_named(export, written, made):
    written({"info": {}, "images": [], "annotations": []}, place="annotations/captions.json")
    path = written(content(*BASIC))
    with pytest.raises(InputError, match=r"captions\.json: categories: missing, so it .*; name the file that does"):
        made(format="coco")
    assert set(made(source=path).masks) == {"a", "b"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (annotation(3, 9, 1, [polygon(0, 0, 2, 2)]), r"annotations\[2\]\.image_id: 9 is not among images"),
        (annotation(3, [1], 1, [polygon(0, 0, 2, 2)]), r"annotations\[2\]\.image_id: \[1\] is not among images"),
        (annotation(3, 1, 9, [polygon(0, 0, 2, 2)]), r"annotations\[2\]\.category_id: 9 is not among categories"),
        (annotation(3, 1, 1, [[0, 0, 4, 4]]), r"annotations\[2\]\.segmentation: has 2 points, needs 3 or more; "),
        (annotation(3, 1, 1, [0, 0, 4, 4, 1, 2]), r"annotations\[2\]\.segmentation: 0 is not a polygon"),
        (annotation(3, 1, 1, []), r"annotations\[2\]\.segmentation: \[\] is no outline \(a box only\?\)"),
        (annotation(3, 1, 1, [[0, 0, 4, float("nan"), 4, 4]]), "lies far outside of the image of 8x6"),
        (annotation(3, 1, 1, [polygon(0, 0, 800, 600)]), "lies far outside of the image of 8x6"),
        (annotation(3, 1, 1, {"counts": [6, 6], "size": [6, 8]}), "counts: the runs add up to 12 pixels"),
        (annotation(3, 1, 1, {"counts": "0oo", "size": [6, 8]}), 'counts: "0oo" breaks off'),
        (annotation(3, 1, 1, {"counts": "06~", "size": [6, 8]}), 'counts: "06~" is not what COCO compresses to'),
        (annotation(3, 1, 1, {"counts": [48], "size": [8, 6]}), r"size: is \[8, 6\], its image's \[6, 8\]"),
    ],
)
def test_a_wrong_annotation_is_named(written, made, change, said):
    written(content(*BASIC, change))
    with pytest.raises(InputError, match=said):
        made()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a.jpg", "c.jpg"), r"images\[1\]\.file_name: no image 'c\.jpg' below .*export; put it there"),
        (("a.jpg", "images/a.jpg"), r"images\[1\]: its image .*a\.jpg is that of .*images\[0\] too"),
        (("a.jpg", "nowhere/b.jpg"), "no image 'nowhere/b.jpg'"),
        (("a.jpg", "b\0.jpg"), r'images\[1\]\.file_name: "b\\u0000\.jpg" is no name'),
    ],
)
def test_a_wrong_image_is_named(written, made, names, said):
    written(content(*BASIC, names=names))
    with pytest.raises(InputError, match=said):
        made()


def test_too_many_classes(written, made):
    given = content(*BASIC)
    given["categories"] += [{"id": k, "name": f"class {k}"} for k in range(10, 262)]
    written(given)
    with pytest.raises(InputError, match=r"export: 255 classes; masks have room for 254"):
        made()
