"""CVAT for images 1.1, as CVAT writes it."""

import numpy as np
import pytest

from dkd.errors import InputError
from tests.dkd.convert.conftest import photo

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>4</id>
      <name>garden</name>
      <size>2</size>
      <mode>annotation</mode>
      <labels>
        <label><name>tulip, white</name><color>#33ddff</color><type>any</type><attributes></attributes></label>
        <label><name>Gräser</name><color>#ff007c</color><type>any</type><attributes></attributes></label>
        <label><name>ignore</name><color>#000000</color><type>any</type><attributes></attributes></label>
        <label><name>unused</name><color>#000001</color><type>any</type><attributes></attributes></label>
      </labels>
    </task>
    <dumped>2025-01-01 10:00:00.000000+00:00</dumped>
  </meta>
"""
POLYGON = """<polygon label="tulip, white" source="manual" occluded="0" points="1.00,1.00;7.00,1.00;7.00,5.00;1.00,5.00"
 z_order="{}"></polygon>"""
MASK = """<mask label="{}" source="semi-auto" occluded="0" rle="1, 2, 3" left="2" top="3" width="3" height="2"
 z_order="0"></mask>"""
BOX = """<box label="Gräser" source="manual" occluded="0" xtl="3.00" ytl="2.00" xbr="5.00" ybr="4.00" z_order="{}"{}>
</box>"""


def image(id, name, *shapes, width=8, height=6):
    inner = "\n    ".join(shapes)
    return f'  <image id="{id}" name="{name}" width="{width}" height="{height}">\n    {inner}\n  </image>\n'


@pytest.fixture
def write(export):
    def write(*images, encoding="utf-8"):
        text = f"{HEAD}{''.join(images)}</annotations>\n"
        (export / "annotations.xml").write_text(text, encoding=encoding, newline="\r\n")

    photo(export / "images" / "a.png")
    photo(export / "images" / "b.png")
    return write


def test_polygons_boxes_and_masks_come_out_to_the_pixel(write, made):
    write(
        image(0, "a.png", POLYGON.format(0), BOX.format(1, "")),
        image(1, "b.png", MASK.format("Gräser"), '<tag label="unused" source="manual"></tag>'),
        encoding="utf-8-sig",
    )
    found = made()
    assert found.names == ("background", "tulip, white", "Gräser") and found.summary.unused == ("unused",)
    a, b = np.zeros((2, 6, 8), dtype=np.uint8)
    a[1:5, 1:7] = 1
    a[2:4, 3:5] = 2
    b[3, 3:5] = 2
    assert (found.masks["a"] == a).all() and (found.masks["b"] == b).all()


def test_z_order_decides_and_ignore_is_void(write, made):
    write(image(0, "a.png", POLYGON.format(2), BOX.format(1, "")), image(1, "b.png", MASK.format("ignore")))
    found = made()
    assert found.names == ("background", "tulip, white") and (found.masks["a"][1:5, 1:7] == 1).all()
    assert (found.masks["b"][3, 3:5] == 255).all() and found.masks["b"].sum() == 510 and found.summary.empty == 1


def test_boxes_are_turned_and_ellipses_are_round(export, write, made):
    ellipse = '<ellipse label="Gräser" occluded="0" cx="4.00" cy="3.00" rx="3.00" ry="2.00" z_order="0"></ellipse>'
    box = BOX.replace('xtl="3.00"', 'xtl="2.00"').replace('xbr="5.00"', 'xbr="6.00"')
    photo(export / "images" / "c.png")
    write(
        image(0, "a.png", ellipse),
        image(1, "b.png", box.format(0, ' rotation="90.00"')),
        image(2, "c.png", box.format(0, ' rotation="45.00"')),
    )
    found = made()
    turned = np.zeros((6, 8), dtype=np.uint8)
    turned[1:5, 3:5] = 1
    assert (found.masks["b"] == turned).all()
    assert (found.masks["c"].diagonal(1)[1:4] == 1).all() and not found.masks["c"][1, 5]  # clockwise
    y, x = np.mgrid[:6, :8] + 0.5
    far = ((x - 4) / 3) ** 2 + ((y - 3) / 2) ** 2
    assert (found.masks["a"][far < 0.7] == 1).all() and not found.masks["a"][far > 1.3].any()


def test_frames_of_a_video_have_no_suffix(export, write, made):
    for k in range(2):
        photo(export / "images" / f"frame_00000{k}.PNG")
    write(*(image(k, f"frame_00000{k}", POLYGON.format(0)) for k in range(2)))
    assert set(made().masks) == {"frame_000000", "frame_000001"}


def test_subsets_of_a_project(export, write, made):
    for subset in ("train", "val"):
        photo(export / "images" / subset / "c.png")
    images = (image(k, f'c.png" subset="{subset}', POLYGON.format(0)) for k, subset in enumerate(("train", "val")))
    write(*images)
    assert set(made().masks) == {"train_c", "val_c"}


def test_images_of_sub_folders(export, write, made):
    photo(export / "images" / "north" / "a.png")
    write(image(0, "a.png", POLYGON.format(0)), image(1, "north\\a.png", MASK.format("Gräser")))
    found = made()
    assert set(found.masks) == {"a", "north_a"} and found.summary.unlabelled == 1
    assert (found.masks["north_a"] == 2).any()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ('<polygon label="Gräser" points="1,1;2,2" z_order="0"/>', 'image "b.png": <polygon>: has 2 points, needs 3'),
        ('<polygon label="Gräser" points="1,1;2,2;x,3"/>', '<polygon>: "x" is not a number'),
        ('<polygon label="Gräser"/>', "<polygon>: has 1 points, needs 3"),
        ('<polygon points="1,1;2,2;3,3"/>', "<polygon> label: null is no name"),
        ('<polyline label="Gräser" points="1,1;2,2;3,3"/>', "<polyline>: has no area"),
        (BOX.format(0, ' rotation="nan"'), "<box> rotation: nan is not an angle"),
        (MASK.format("Gräser").replace("1, 2, 3", "1, 2"), "<mask> rle: the runs add up to 3 pixels, its box has 3x2"),
        (MASK.format("Gräser").replace('left="2"', 'left="6"'), "leave the image of 8x6"),
    ],
)
def test_a_wrong_shape_is_named(write, made, shape, said):
    write(image(0, "a.png", POLYGON.format(0)), image(1, "b.png", shape))
    with pytest.raises(InputError, match=said):
        made()


def test_other_xml_is_named(export, write, made):
    write(image(0, "a.png"), image(1, "c.png"))
    with pytest.raises(InputError, match=r"image \"c\.png\": no image 'c\.png' below"):
        made()
    write('<track id="0" label="Gräser"></track>')
    with pytest.raises(InputError, match=r"<track>: is 'CVAT for video'; export as 'CVAT for images 1\.1'"):
        made()
    path = export / "annotations.xml"
    path.write_text('<!DOCTYPE annotations [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>')
    with pytest.raises(InputError, match="document type declaration"):
        made()
    path.write_text("<annotations>")
    with pytest.raises(InputError, match=r"annotations\.xml: not XML as it should be \(no element found"):
        made()
    path.write_text("<annotation><object/></annotation>")
    with pytest.raises(InputError, match="<annotation>: CVAT writes <annotations>"):
        made(format="cvat")
