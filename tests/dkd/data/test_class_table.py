"""Class lists with and without colours."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkd.data import class_table
from dkd.errors import InputError

VOID = {0: 0, 0xE0E0C0: 255}


def read(root, classes=None, labelmap=None):
    for name, text in (("classes.txt", classes), ("labelmap.txt", labelmap)):
        if text is not None:
            (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return class_table.read(root)


@pytest.mark.parametrize(
    ("files", "names", "colours"),
    [
        (("\ufeffnone\r\nrose red\r\n\r\n",), ("none", "rose red"), {}),
        (("none\nrose red 1 2 3\n",), ("none", "rose red"), {**VOID, 0x010203: 1}),
        (("none 9 9 9\nrose 0 0 0\n",), ("none", "rose"), {**VOID, 0x090909: 0, 0: 1}),
        ((None, "# CVAT\nrose:1,2,3::\nbackground:9,9,9::\nvoid:8,8,8::\n"), ("background", "rose"), "map"),
        (("background\nrose\n", "void:8,8,8::\nrose:1,2,3::\nbackground:9,9,9::\n"), ("background", "rose"), "map"),
    ],
)
def test_names_and_colours(tmp_path, files, names, colours):
    if colours == "map":
        colours = {**VOID, 0x010203: 1, 0x090909: 0, 0x080808: 255}
    assert read(tmp_path, *files) == (names, colours)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("none\na 1 2 3\nb\n",), "classes.txt: line 3: 'b' has no colour, others have"),
        (("none\na 1 2 3\nb 1 2 3\n",), "classes.txt: line 3: has the colour of 'a'"),
        (("none\na 1 2 300\n",), "classes.txt: line 2: colour 1,2,300 has a part above 255"),
        (("none\na\n", "b:1,2,3::\n"), "labelmap.txt: class 'b' is not in classes.txt"),
        (("none\na\x01b\n",), 'classes.txt: line 2: "a\\u0001b" is no name'),
        (("none\n" + "a" * 201,), "has more than 200 characters; shorten it"),
        ((None, f"{'a' * 201}:1,2,3::\n"), "has more than 200 characters; shorten it"),
        ((b"none\n\xff\n",), "classes.txt: not UTF-8 text"),
    ],
)
def test_a_list_that_is_no_table_is_one_line(tmp_path, files, words):
    with pytest.raises(InputError) as caught:
        read(tmp_path, *files)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@given(*[st.none() | st.binary(max_size=40) | st.text("a 019,:\n#", max_size=40).map(str.encode)] * 2)
@settings(max_examples=200, deadline=None)
def test_any_file_is_a_table_or_named(place, classes, labelmap):
    for path in place.iterdir():
        path.unlink()
    try:
        names, colours = read(place, classes, labelmap)
        assert 2 <= len(names) <= 255 and set(colours.values()) <= {*range(len(names)), 255}
    except InputError as error:
        assert str(place) in str(error) and "\n" not in str(error)
