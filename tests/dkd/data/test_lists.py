"""Lists as people have them: ids, file names, paths, pairs; and every line that names no image is told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkd.data import catalog
from dkd.errors import InputError

from .test_catalog import touch, write_lists


def folder(root, train, *names, encoding="utf-8"):
    touch(root, *names, "images/v.JPEG", "masks/v.png")
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_bytes(train.encode(encoding))
    (root / "splits" / "val.txt").write_text("v\n")
    (root / "classes.txt").write_text("background\na\n")
    return catalog.list_files("folder", root)


NAMES = ("images/IMG_1.JPG", "images/a b.webp", "images/train/c.d.tiff", "masks/IMG_1.PNG", "masks/a b.tif")
EXPECTED = [
    ("IMG_1", "images/IMG_1.JPG", "masks/IMG_1.PNG", "train"),
    ("a b", "images/a b.webp", "masks/a b.tif", "train"),
    ("train/c.d", "images/train/c.d.tiff", "masks/train/c.d.bmp", "train"),
    ("v", "images/v.JPEG", "masks/v.png", "val"),
]


@pytest.mark.parametrize(
    "lines",
    [
        ("IMG_1", "a b", "train/c.d"),
        ("IMG_1.jpg", "a b.webp", "train/c.d.tiff"),
        ("/images/IMG_1.JPG", "./images/a b.webp", "images\\train\\c.d.tiff"),
        ("/home/me/images/IMG_1.JPG", "C:\\data\\images\\a b.webp", "/x/images/train/c.d.tiff"),
        ("images/IMG_1.JPG masks/IMG_1.PNG", "/images/a b.webp\t/masks/a b.tif", "train/c.d.tiff  train/c.d.bmp"),
    ],
)
def test_a_line_may_be_an_id_a_file_a_path_or_a_pair(tmp_path, lines):
    text = "\r\n".join(["", *lines, "  ", ""])
    assert folder(tmp_path, text, *NAMES, "masks/train/c.d.bmp", encoding="utf-8-sig") == EXPECTED


def test_names_in_another_normal_form(tmp_path):
    """As macOS stores them."""
    [(id, image, *_), _] = folder(tmp_path, "caf\u00e9\n", "images/cafe\u0301.png", "masks/caf\u00e9.png")
    assert id == "caf\u00e9" and (tmp_path / image).exists()


def test_vocs_list_of_pairs(tmp_path):
    touch(tmp_path, *(f"JPEGImages/{id}.jpg" for id in "abc"), *(f"SegmentationClassAug/{id}.png" for id in "abc"))
    pairs = "".join(f"/JPEGImages/{id}.jpg /SegmentationClassAug/{id}.png\n" for id in "ab")
    write_lists(tmp_path, train_aug=pairs, val="c\n")
    assert catalog.list_files("voc", tmp_path) == [
        (id, f"JPEGImages/{id}.jpg", f"SegmentationClassAug/{id}.png", split)
        for id, split in (("a", "train"), ("b", "train"), ("c", "val"))
    ]


@pytest.mark.parametrize(
    ("line", "names", "words"),
    [
        (
            "b",
            (),
            r"train\.txt: line 1: image is missing: no 'b' in .*images \(nor a file with",
        ),
        ("b", ("images/b.heic",), r"images/b\.heic is none of \.jpg"),
        ("b", ("images/b.jpg", "images/b.png"), r"images/b\.jpg and images/b\.png have the same id 'b'"),
        ("b", ("images/b.jpg", "masks/b.tif", "masks/b.png"), r"masks/b\.png and masks/b\.tif have the same id 'b'"),
        ("b\nb.jpg", ("images/b.jpg",), r"'b' is listed twice \(also in train\.txt\)"),
        ("v", (), r"'v' is listed twice \(also in train\.txt\)"),
        ("b.jpg c.png", ("images/b.jpg",), r"mask is missing: no 'c\.png' in .*masks"),
        ("", (), r"train\.txt: lists no image"),
    ],
)
def test_a_line_without_one_image_and_one_mask_is_named(tmp_path, line, names, words):
    with pytest.raises(InputError, match=words) as caught:
        folder(tmp_path, line, *names)
    assert "\n" not in str(caught.value)


def test_without_lists_all_images_with_a_mask_count(tmp_path, caplog):
    touch(tmp_path, "images/b.jpg", "images/sub/a.png", "images/bare.jpg", "masks/b.png", "masks/sub/a.png")
    (tmp_path / "classes.txt").write_text("background\na\n")
    found = catalog.contents("folder", tmp_path, None, listed=False).files
    assert [(id, split) for id, *_, split in found] == [("b", ""), ("sub/a", "")]
    assert "1 images have no mask and are left out (bare, ...)" in caplog.text
    touch(tmp_path, "splits/train.txt")
    with pytest.raises(InputError, match=r"data\.split: .*train\.txt says which images are for training"):
        catalog.contents("folder", tmp_path, None, listed=False)
    with pytest.raises(InputError, match=r"data\.split: the format voc has lists of its own"):
        catalog.contents("voc", tmp_path, None, listed=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("lists")
    folder(root, "x", "images/x.jpg", "images/a/b c.png", "masks/x.png")
    return root


@given(st.binary(max_size=60) | st.text("xabc ./\\\ufeff\n\r\tjpgn", max_size=40).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_list_is_read_or_named(place, content):
    (place / "splits" / "train.txt").write_bytes(content)
    try:
        assert {id for id, *_ in catalog.list_files("folder", place)} <= {"x", "a/b c", "v"}
    except InputError as error:
        assert "\n" not in str(error)
