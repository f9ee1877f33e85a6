"""Masks in colours: CVAT's "Segmentation mask 1.1", and folders of one's own."""

import numpy as np
import pytest
from PIL import Image

from dkd.convert import colour
from dkd.errors import InputError
from dkd.use import palette
from tests.dkd.convert.conftest import photo

LABELMAP = "# label:color_rgb:parts:actions\r\nbackground:0,0,0::\r\nrose, red:250,50,83::\r\nbus: old:51,221,255::\r\n"
LABELS = np.zeros((6, 8), dtype=np.uint8)
LABELS[1:4, 2:5], LABELS[4:, 6:] = 1, 2
COLOURS = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], dtype=np.uint8)


@pytest.fixture
def cvat(export):
    """As CVAT lays it out, images included."""
    for name, labels in (("a", LABELS), ("b", LABELS[::-1])):
        photo(export / "JPEGImages" / f"{name}.jpg")
        for folder in ("SegmentationClass", "SegmentationObject"):
            (export / folder).mkdir(exist_ok=True)
            Image.fromarray(COLOURS[labels]).save(export / folder / f"{name}.png")
    (export / "ImageSets" / "Segmentation").mkdir(parents=True)
    (export / "ImageSets" / "Segmentation" / "default.txt").write_text("a\nb\n")
    (export / "labelmap.txt").write_text(LABELMAP, newline="", encoding="utf-8-sig")
    return export


@pytest.mark.parametrize("format", ["auto", "cvat", "colour"])
def test_colours_become_labels(cvat, made, format):
    found = made(format)
    assert found.names == ("background", "rose, red", "bus: old") and found.summary.format in (format, "colour")
    assert (found.masks["a"] == LABELS).all() and (found.masks["b"] == LABELS[::-1]).all()


def test_vocs_own_masks_with_its_palette(export, made):
    labels = LABELS.copy()
    labels[0] = 255
    for name in "ab":
        photo(export / "images" / f"{name}.jpeg", format="JPEG")
        mask = Image.fromarray(labels, mode="P")
        # More labels than eight: the devkit's colours.
        mask.putpalette([part for colour in palette.colours(21) for part in colour])
        (export / "masks").mkdir(exist_ok=True)
        mask.save(export / "masks" / f"{name}.png")
    photo(export / "images" / "without.jpg")
    (export / "classes.txt").write_text("aeroplane 128 0 0\nbicycle 0,128,0\n")
    found = made()
    assert found.names == ("background", "aeroplane", "bicycle") and (found.masks["a"] == labels).all()
    assert found.summary.unlabelled == 1 and found.summary.train == found.summary.val == 1


def test_what_labelme2voc_writes(export, made):
    """Masks with the palette of the VOC devkit, and void as 255."""
    labels = LABELS.copy()
    labels[0] = 255
    for name in ("IMG 1", "b"):
        photo(export / "JPEGImages" / f"{name}.jpg")
        for folder in ("SegmentationClass", "SegmentationClassVisualization"):
            (export / folder).mkdir(exist_ok=True)
            mask = Image.fromarray(labels)
            mask.putpalette([part for colour in palette.colours(256) for part in colour])
            mask.save(export / folder / f"{name}.png")
    (export / "class_names.txt").write_text("_background_\nrose\nbus, old\nnever drawn")
    found = made()
    assert found.names == ("background", "rose", "bus, old") and found.summary.unused == ("never drawn",)
    assert (found.masks["IMG_1"] == labels).all()
    (export / "class_names.txt").write_text("\n".join(f"c{k}" for k in range(256)))
    with pytest.raises(InputError, match=r"class_names\.txt: line 256: masks have room for 254 classes"):
        colour.read(export)


def test_folders_with_equal_file_names(cvat, made):
    photo(cvat / "JPEGImages" / "north" / "a.jpg")
    (cvat / "SegmentationClass" / "north").mkdir()
    Image.fromarray(COLOURS[LABELS]).save(cvat / "SegmentationClass" / "north" / "a.png")
    assert set(made().masks) == {"a", "b", "north_a"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rose:250,50,83::", r"a\.png: colour 51,221,255 \(x 6, y 4; 4 pixels in all\) is not in labelmap\.txt"),
        ("rose:250,50::", r'labelmap\.txt: line 1: "rose:250,50::" is not name:r,g,b::'),
        ("rose:250,50,300::", "line 1: colour 250,50,300 has a part above 255"),
        ("rose:250,50,83::\ntulip:250,50,83::", "line 2: has the colour of 'rose'"),
        ("background:0,0,0::", "no class in it"),
        ("\n".join(f"class {k}:{k},1,1::" for k in range(255)), "255 classes; masks have room for 254"),
    ],
)
def test_a_wrong_list_is_named(cvat, made, text, said):
    (cvat / "labelmap.txt").write_text(text)
    with pytest.raises(InputError, match=said):
        made()


def test_a_missing_part_is_named(cvat, made):
    (cvat / "JPEGImages" / "b.jpg").rename(cvat / "JPEGImages" / "c.jpg")
    with pytest.raises(InputError, match=r"SegmentationClass/b\.png: no image 'b' below .*JPEGImages"):
        made()
    (cvat / "JPEGImages").rename(cvat / "elsewhere")
    with pytest.raises(InputError, match=r"JPEGImages: missing; the images are expected there \(CVAT: 'Save images'\)"):
        made()
    (cvat / "labelmap.txt").unlink()
    with pytest.raises(InputError, match=r"labelmap\.txt: missing"):
        made("colour")
