"""The three commands of data/README.md for each tool, typed on an export in the form that the tool writes."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dkd.config import read
from dkd.data import reader
from pipeline import plan as plans
from tests.conftest import ROOT
from tests.dkd.command import run
from tests.dkd.convert import test_cvat, test_labelme
from tests.dkd.convert.conftest import photo
from tests.dkd.convert.test_coco import annotation, content, polygon

PAGE = (ROOT / "data" / "README.md").read_text().split("## Your own images: three commands")[1].split("\n## ")[0]
NAMES = ("rose", "tulip", "lawn", "path", "shed")
WIDTH, HEIGHT = 20, 16
BOXES = {f"IMG {k}.JPG": [(NAMES[k % 5], (1, 2, 8, 9)), (NAMES[(k + 1) % 5], (10, 3, 18, 14))] for k in range(10)}
"""By image, the class and (left, top, right, bottom) of two rectangles."""


def phone(place: Path):
    """As stored by the phone, rotated; drawn by labelme on the upright photo."""
    for name in BOXES:
        photo(place / name, HEIGHT, WIDTH, orientation=6)
    labelme(place)


def labelme(place: Path):
    for name, boxes in BOXES.items():
        if not (place / name).exists():
            photo(place / name, WIDTH, HEIGHT)
        drawn = [test_labelme.shape(label, "rectangle", [box[:2], box[2:]]) for label, box in boxes]
        path = place / name.replace(".JPG", ".json")
        test_labelme.write(path, *drawn, image=name, width=WIDTH, height=HEIGHT)


def cvat(place: Path):
    images = []
    for number, (name, boxes) in enumerate(BOXES.items()):
        photo(place / "images" / name, WIDTH, HEIGHT)
        drawn = [
            f'<box label="{label}" source="manual" occluded="0" xtl="{a}.00" ytl="{b}.00" xbr="{c}.00" ybr="{d}.00" '
            'z_order="0"></box>'
            for label, (a, b, c, d) in boxes
        ]
        images.append(test_cvat.image(number, name, *drawn, width=WIDTH, height=HEIGHT))
    labels = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in NAMES)
    head = re.sub("<labels>.*</labels>", f"<labels>{labels}</labels>", test_cvat.HEAD, flags=re.S)
    (place / "annotations.xml").write_text(f"{head}{''.join(images)}</annotations>\n")


def coco(place: Path):
    found = content(names=tuple(BOXES))
    found["categories"] = [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(NAMES, 1)]
    for number, image in enumerate(found["images"]):
        photo(place / "images" / image["file_name"], WIDTH, HEIGHT)
        image |= {"width": WIDTH, "height": HEIGHT}
        for label, box in BOXES[image["file_name"]]:
            outline = [polygon(*box)]
            id = len(found["annotations"]) + 1
            found["annotations"].append(annotation(id, number + 1, NAMES.index(label) + 1, outline))
    (place / "annotations").mkdir()
    (place / "annotations" / "instances_default.json").write_text(json.dumps(found))


TOOLS = {"Photos from a phone": phone, "labelme": labelme, "CVAT": cvat, "COCO": coco}


def commands(tool: str) -> list[list[str]]:
    """The words of each command that the page gives for a tool."""
    block = PAGE.split(f"**{tool}**")[1].split("\n\n")[1]
    return [shlex.split(line) for line in block.splitlines()]


def test_the_page_has_three_commands_for_each_tool():
    assert re.findall(r"^\*\*(.+?)\*\*", PAGE, re.M) == list(TOOLS)
    for tool in TOOLS:
        first, convert, last = commands(tool)
        assert first[0] in ("unzip", "labelme") and convert[:2] == [".venv/bin/dkd", "convert"]
        assert last == ["make", "run"]


@pytest.mark.parametrize("tool", list(TOOLS))
def test_an_export_is_a_data_set_that_the_workflow_takes(tmp_path, monkeypatch, tool):
    (tmp_path / "export").mkdir()
    TOOLS[tool](tmp_path / "export")
    place = tmp_path / "checkout"
    place.mkdir()
    monkeypatch.chdir(place)
    first, convert, _ = commands(tool)
    if first[0] == "unzip":
        _, archive, _, folder = first
        shutil.make_archive(archive.removesuffix(".zip"), "zip", tmp_path / "export")
        shutil.unpack_archive(archive, folder)
    else:
        shutil.copytree(tmp_path / "export", first[1])
    run(monkeypatch, *convert[1:])
    (place / "params.yaml").write_text(PAGE.split("```yaml\n")[1].split("```")[0])
    plan = plans.build(read.load("params.yaml"), fresh=True)
    assert len(plan.of("increment")) == 6 and {node.inputs["data"].path for node in plan.of("index")} == {
        "data/raw/garden"
    }
    root = place / "data" / "raw" / "garden"
    names = (root / "classes.txt").read_text().splitlines()
    assert sorted(names[1:]) == sorted(NAMES)
    for name, boxes in BOXES.items():
        id = name.replace(" ", "_").removesuffix(".JPG")
        assert reader.image_size(root / "images" / f"{id}.jpg") == (HEIGHT, WIDTH)
        with Image.open(root / "masks" / f"{id}.png") as mask:
            pixels = np.array(mask)
        for label, (left, top, right, bottom) in boxes:
            assert (pixels[top + 1 : bottom - 1, left + 1 : right - 1] == names.index(label)).all()


def test_every_key_that_the_page_shows_for_a_folder_is_valid(tmp_path):
    *_, block = (ROOT / "data" / "README.md").read_text().split("```yaml\n")
    order = re.search(r"order: \[(.*?)\]", block)[1].split(", ")
    (tmp_path / "classes.txt").write_text("\n".join(["background", *reversed(order)]))
    (tmp_path / "params.yaml").write_text(block.split("```")[0].replace("/path/to/garden", str(tmp_path)))
    runs = read.load(tmp_path / "params.yaml").runs
    assert len(runs) == 3 and runs[0].sizes == (5, 2, 1) and runs[0].order == (8, 7, 6, 5, 4, 3, 2, 1)
    assert [run.increment.steps["2"].epochs for run in runs] == [100] * 3
