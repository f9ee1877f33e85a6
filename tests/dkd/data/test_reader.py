"""Images of all kinds are read as upright 8-bit RGB, masks as the values or colours that they store."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dkd.data import reader
from dkd.data.classes import Encoding
from dkd.errors import InputError

PIXELS = np.zeros((6, 9, 3), dtype=np.uint8)
PIXELS[:, :3] = (200, 40, 90)


def image(mode="RGB"):
    return Image.fromarray(PIXELS).convert(mode)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image().save(tmp_path / "a.png", exif=exif)
    assert (reader.read_image(tmp_path / "a.png") == np.rot90(PIXELS, -1)).all()


def test_gray_and_cmyk_become_rgb(tmp_path):
    image("L").save(tmp_path / "a.png")
    assert (reader.read_image(tmp_path / "a.png") == np.repeat(np.array(image("L"))[..., None], 3, axis=-1)).all()
    image("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(reader.read_image(tmp_path / "a.jpg").astype(int) - PIXELS).mean() < 5


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_pixels_become_white(tmp_path, mode):
    source = image("RGBA")
    source.putalpha(Image.fromarray(np.where(PIXELS[..., 0] > 0, 255, 0).astype(np.uint8)))
    place = tmp_path / ("a.gif" if mode == "P" else "a.tif" if mode == "PA" else "a.png")
    (source if mode in ("P", "PA") else source.convert(mode)).save(place)
    found = reader.read_image(place)
    assert (found[:, 3:] == 255).all() and (found[:, :3] != 255).any()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path, suffix):
    values = np.array([[0, 256, 65535], [128, 32768, 40000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert reader.read_image(tmp_path / f"a.{suffix}")[..., 1].tolist() == [[0, 1, 255], [0, 128, 156]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "not an image"),
        (b"", "not an image"),
        (None, "image is missing"),
        ("half", "truncated"),
        ("float", r"can't be decoded \(floating-point"),
    ],
)
def test_unreadable_files_are_named(tmp_path, content, message):
    place = tmp_path / "a.tif" if content == "float" else tmp_path / "a.png"
    if content == "half":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(place)
        place.write_bytes(place.read_bytes()[:2000])
    elif content == "float":
        Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(place)
    elif content is not None:
        place.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.(png|tif): .*{message}"):
        reader.read_image(place)


def test_images_beyond_pillows_limit_are_read_and_the_limit_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    image().save(tmp_path / "a.png")
    assert reader.read_image(tmp_path / "a.png").shape == PIXELS.shape
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_sizes_are_those_of_the_upright_image(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    image().save(path, exif=exif)
    pixels = reader.read_image(path)
    for decode in (False, True):
        assert reader.image_facts(path, decode=decode) == (pixels.shape[:2], orientation)
    assert pixels.shape[:2] == ((9, 6) if orientation > 4 else (6, 9))


def test_orientation_that_follows_the_pixels_of_a_png(tmp_path):
    path = tmp_path / "a.png"
    image().save(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    end = path.read_bytes().index(b"IEND") - 4
    path.write_bytes(path.read_bytes()[:end] + chunk + path.read_bytes()[end:])
    assert reader.read_image(path).shape[:2] == reader.image_size(path) == (9, 6)


def write_gray_png(path, values, bits):
    """A gray PNG of 1, 2, 4, 8 or 16 bits, which Pillow can't write."""
    rows = np.asarray(values, dtype=np.uint16)
    planes = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    lines = np.packbits(planes.reshape(len(rows), -1).astype(np.uint8), axis=1)
    pixels = b"".join(b"\0" + line.tobytes() for line in lines)
    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def assert_counted(path, colours):
    values, counts = reader.read_mask(path, colours), reader.count_mask(path, colours)
    assert np.array_equal(counts.values, np.bincount(values.ravel(), minlength=256))
    assert counts.values.shape == (256,) and counts.values.dtype == np.int64 and counts.size == values.shape


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_gray_masks_of_any_depth_hold_what_is_stored(tmp_path, bits):
    values = np.random.default_rng(bits).integers(0, min(2**bits, 256), (5, 7))
    write_gray_png(tmp_path / "a.png", values, bits)
    found = reader.read_mask(tmp_path / "a.png", {})
    assert found.dtype == np.uint8 and np.array_equal(found, values)
    assert_counted(tmp_path / "a.png", {})


@pytest.mark.parametrize(("suffix", "mode"), [("tif", "L"), ("tif", "I;16"), ("bmp", "P"), ("png", "P"), ("tif", "I")])
def test_masks_of_other_kinds(tmp_path, suffix, mode):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    wide = {"I;16": np.uint16, "I": np.int32}.get(mode, np.uint8)
    mask = Image.fromarray(values.astype(wide))
    if mode == "P":
        mask.putpalette([part for value in range(256) for part in (value, 0, 9)])
    mask.save(tmp_path / f"a.{suffix}", **({"bits": 4} if mode == "P" and suffix == "png" else {}))
    assert np.array_equal(reader.read_mask(tmp_path / f"a.{suffix}", {}), values)
    assert_counted(tmp_path / f"a.{suffix}", {})
    palette = reader.count_mask(tmp_path / f"a.{suffix}", {}).palette
    assert palette[: 3 * 12] == (bytes(part for value in range(12) for part in (value, 0, 9)) if mode == "P" else b"")


COLOURS = {0x000000: 0, 0xC8285A: 1}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_masks_in_colours(tmp_path, mode):
    mask = image() if mode != "P" else image().quantize()
    if mode == "RGBA":
        mask = image("RGBA")
        mask.putalpha(Image.fromarray(np.where(PIXELS[..., 0] > 0, 255, 0).astype(np.uint8)))
    mask.save(tmp_path / "a.png")
    assert np.array_equal(reader.read_mask(tmp_path / "a.png", COLOURS), (PIXELS[..., 0] > 0).astype(np.uint8))
    assert_counted(tmp_path / "a.png", COLOURS)


@pytest.mark.parametrize(
    ("change", "colours", "words"),
    [
        (lambda path: image().save(path), {}, "mask is in colours (mode RGB), and none are listed"),
        (lambda path: image().save(path, "JPEG"), COLOURS, "mask is stored as JPEG with a compression that changes"),
        (
            lambda path: image("L").save(path, "TIFF", compression="jpeg"),
            {},
            "mask is stored as TIFF with a",
        ),
        (lambda path: image().save(path), {0: 0}, "colour 200,40,90 (x 0, y 0; 18 pixels in all) is not in"),
        (lambda path: image("I").point(lambda v: v + 300).save(path, "TIFF"), {}, "the value 394 (x 0, y 0)"),
        (lambda path: image("I").save(path, "TIFF"), COLOURS, "mask holds numbers (mode I), but classes.txt lists"),
        (
            lambda path: image("RGBA").rotate(9, fillcolor=(0, 0, 0, 7)).save(path),
            COLOURS,
            "partly transparent (alpha",
        ),
        (lambda path: path.write_bytes(b""), {}, "mask can't be read (not an image)"),
    ],
)
def test_a_mask_that_tells_no_labels_is_one_line(tmp_path, change, colours, words):
    path = tmp_path / "a.png"
    change(path)
    with pytest.raises(InputError) as caught:
        reader.read_mask(path, colours)
    assert str(caught.value).startswith(str(path)) and words in str(caught.value) and "\n" not in str(caught.value)


KNOWN = Encoding(frozenset({0, 1, 2, 255}), {})


def pair(tmp_path, mask, orientation=1, known=KNOWN):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image().save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(tmp_path / "a.png")
    return reader.read_pair(tmp_path / "a.jpg", tmp_path / "a.png", known)


def test_a_mask_fits_the_upright_image(tmp_path):
    pixels, values = pair(tmp_path, np.full((9, 6), 2), orientation=6)
    assert pixels.shape == (9, 6, 3) and (values == 2).all()
    with pytest.raises(InputError, match=r"a\.png: mask is 9x6 pixels, its image .* 6x9: .* EXIF orientation \(6\)"):
        pair(tmp_path, np.full((6, 9), 2), orientation=6)


def test_a_file_that_changed_since_the_index_was_made_is_one_line(tmp_path):
    for shape in ((6, 8), (7, 9)):
        with pytest.raises(InputError, match=r"a\.png: mask is .* make the index again if one was changed"):
            pair(tmp_path, np.zeros(shape))
    with pytest.raises(InputError, match=r"a\.png: value 3 is unknown to the index; has the mask changed\?"):
        pair(tmp_path, np.full((6, 9), 3))
    assert (pair(tmp_path, np.full((6, 9), 255))[1] == 255).all()


@given(st.frozensets(st.integers(0, 255), min_size=1), st.integers(0, 255))
def test_unknown_values_are_found_whatever_is_known(known, value):
    values = np.full((300, 300), next(iter(known)), dtype=np.uint8)
    values[-1, -1] = value
    assert reader._known(values, known) == (value in known)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@pytest.mark.filterwarnings("ignore:::PIL")
@given(st.sampled_from(["png", "jpg", "tif", "bmp", "webp", "gif"]), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_read_or_named(damaged, suffix, data):
    path = damaged / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6
    image(data.draw(st.sampled_from(["RGB", "L", "P"]))).convert("RGB" if suffix in ("jpg", "webp") else None).save(
        path, **({"exif": exif} if suffix != "bmp" else {})
    )
    content = bytearray(path.read_bytes())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)):
        content[at] = byte
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for read in (
        reader.read_image,
        lambda path: reader.image_facts(path, decode=False),
        lambda path: reader.read_mask(path, {}),
        lambda path: reader.read_mask(path, COLOURS),
        lambda path: reader.count_mask(path, {}),
        lambda path: reader.count_mask(path, COLOURS),
    ):
        try:
            read(path)
        except InputError as error:
            assert str(path) in str(error)
