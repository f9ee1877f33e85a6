"""What is seen when the index is made, and what it warns of."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from dkd.config import read, yaml_file
from dkd.data import catalog, classes, index, survey
from dkd.data.shapes import PALETTE, SHAPES
from dkd.errors import InputError
from tests.conftest import ROOT
from tests.dkd.conftest import build_index


def build(root, stored=None, split=None, decode=True):
    contents = catalog.contents("folder", root, stored, listed=split is None)
    return survey.build(root, "mine", contents, decode=decode, split=split)


def repaint(root, change):
    for path in (root / "masks").iterdir():
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


def test_images_and_pixels_of_each_class(pictures):
    repaint(pictures, lambda mask: np.where(mask == 6, 255, mask).astype(np.uint8))
    table, seen = build(pictures)
    masks = {row.id: np.array(Image.open(pictures / row.mask)) for row in table.rows}
    labelled = sum(int((mask != 255).sum()) for mask in masks.values())
    assert seen.images == {"train": 24, "val": 8}
    for label, each in enumerate(seen.classes):
        assert each.name == table.class_names[label]
        for split, count in (("train", each.train), ("val", each.evaluated)):
            assert count == sum((masks[row.id] == label).any() for row in table.of(split))
        assert each.share == pytest.approx(sum(int((mask == label).sum()) for mask in masks.values()) / labelled)
    assert seen.warnings == ("no training image shows star; leave these classes out of `order`, or label some images",)
    shown = survey.table(seen).splitlines()
    assert shown[0] == "24 train images, 8 val images" and len(shown) == 2 + 7
    assert shown[-1].split() == ["star", "0", "0", "0.00%"]


def test_masks_of_0_and_255_only(pictures):
    repaint(pictures, lambda mask: np.where(mask > 0, 255, 0).astype(np.uint8))
    [warning] = build(pictures)[1].warnings
    assert "255 is void, so no class is labelled" in warning and "data.labels: {NAME: 255}" in warning
    table, seen = build(pictures, stored={255: 1})
    assert not seen.warnings and {row.classes for row in table.rows} == {(1,)}
    assert [each.name for each in seen.classes] == ["background", "disc"]


def test_an_image_that_breaks_off_is_found_unless_it_has_to_be_fast(pictures):
    path = pictures / "images" / "train_00003.png"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"train_00003\.png: image can't be decoded"):
        build(pictures)
    assert len(build(pictures, decode=False)[0].rows) == 32


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_every_format_that_breaks_off_is_found(pictures, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = pictures / "images" / f"val_00003.{suffix}"
    (pictures / "images" / "val_00003.png").unlink()
    Image.fromarray(pixels).save(path)
    build(pictures)
    os.truncate(path, path.stat().st_size * 9 // 10)
    with pytest.raises(InputError, match=rf"val_00003\.{suffix}: image can't be (read|decoded)"):
        build(pictures)


def test_turned_images_other_palettes_and_sizes(pictures):
    exif = Image.Exif()
    exif[0x0112] = 3
    image, mask = (pictures / folder / "train_00003.png" for folder in ("images", "masks"))
    Image.open(image).save(image, exif=exif)
    other = Image.open(mask)
    other.putpalette([255 - part for part in other.getpalette()])
    other.save(mask)
    for folder, kind in (("images", Image.Resampling.BOX), ("masks", Image.Resampling.NEAREST)):
        path = pictures / folder / "train_00004.png"
        Image.open(path).resize((128, 128), kind).save(path)
    warnings = "\n".join(build(pictures)[1].warnings)
    assert "1 images ('train_00003', ...) are turned as their EXIF orientation says" in warnings
    assert "palettes differ: value 0 is 0,0,0 in masks/train_00000.png, but 255,255,255 in" in warnings
    assert "very different size, from 32x32 to 128x128" in warnings


def test_masks_in_colours_give_the_same_index(pictures, tmp_path):
    plain = build_index(pictures)
    for path in (pictures / "masks").iterdir():
        Image.open(path).convert("RGB").save(path)
    with pytest.raises(InputError, match="mask is in colours"):
        build(pictures)
    lines = [f"{name} {' '.join(map(str, PALETTE[3 * k : 3 * k + 3]))}" for k, name in enumerate(SHAPES)]
    (pictures / "classes.txt").write_text("\n".join(lines))
    table, _ = build(pictures)
    assert table.rows == plain.rows and table.class_names == plain.class_names and len(table.colours) == 8
    index.write(table, tmp_path / "index.csv")
    assert index.read(tmp_path / "index.csv") == table
    lines[3] = "triangle 1 2 3"
    (pictures / "classes.txt").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"\.png: colour 0,158,115 \(x \d+, y \d+; \d+ pixels in all\) is not in"):
        build(pictures)


def test_stored_values_can_be_merged_dropped_and_shifted(pictures):
    names = catalog.class_names("folder", pictures)
    plain = build_index(pictures)
    labels = {"disc": [1, 2], "void": [3], "background": [4], "ring": [5], "star": [6]}
    stored = catalog.stored_labels("folder", names, labels, (255,))
    table, seen = build(pictures, stored)
    new = {1: 1, 2: 1, 5: 5, 6: 6}
    for row, before in zip(table.rows, plain.rows, strict=True):
        assert set(row.classes) == {new[label] for label in before.classes if label in new}
    assert [each.name for each in seen.classes] == ["background", "disc", "ring", "star"]
    repaint(pictures, lambda mask: mask + 10)
    shifted = {"background": [10], **{name: [10 + k] for k, name in enumerate(names) if k}}
    assert build(pictures, catalog.stored_labels("folder", names, shifted, (255,)))[0].rows == plain.rows


def test_the_convention_of_loveda_is_one_line(pictures):
    page = (ROOT / "data" / "README.md").read_text()
    section = next(block for block in page.split("```yaml\n") if block.startswith("data:")).split("```")[0]
    labels = yaml_file.parse(section)["data"]["labels"]
    names = ("background", "building", "road", "water", "barren", "forest", "agricultural")
    (pictures / "classes.txt").write_text("\n".join(names) + "\n")
    repaint(pictures, lambda mask: np.where(np.indices(mask.shape)[0] < 2, 0, mask + 1).astype(np.uint8))
    data = read.recipe(None, [f"data.labels={json.dumps(labels)}"])["data"]
    table, seen = build(pictures, catalog.stored_labels("folder", names, data.labels, data.void))
    assert classes.value_to_label(table.stored)[:8].tolist() == [255, 0, 1, 2, 3, 4, 5, 6]
    assert [each.name for each in seen.classes] == list(names) and not seen.warnings


def test_0_without_annotation(pictures):
    stored = catalog.stored_labels("folder", catalog.class_names("folder", pictures), None, (0,))
    assert classes.value_to_label(stored)[[0, 1, 6, 255]].tolist() == [255, 1, 6, 255]
    table, seen = build(pictures, stored)
    assert table.rows == build_index(pictures).rows and seen.classes[0].share == 0


def test_a_division_has_every_class_on_both_sides(pictures):
    for path in (pictures / "splits").iterdir():
        path.unlink()
    split = survey.Share(0.75, 0)
    table, seen = build(pictures, split=split)
    assert seen.images == {"train": 24, "val": 8} and not seen.warnings
    assert build(pictures, split=split)[0] == table != build(pictures, split=survey.Share(0.75, 1))[0]
