"""The section of the tutorial on one's own images, command by command, on drawn photos and on real ones."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageEnhance

from dkd.data import reader, shapes
from tests.conftest import SHARED
from tests.dkd.convert.test_labelme import png, shape, write

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "tutorial.md").read_text().split("## 4. Your own data set")[1].split("\n## ")[0]
LABELLING = (ROOT / "docs" / "tutorial.md").read_text().split("## 2. Label images")[1].split("\n## ")[0]
COMMANDS = ("dkd index ROOT --out check.csv", "snakemake -n", "snakemake --cores 8", "python -m pipeline status")
EIGHT = "Sky Building Road Pavement Tree Car Pedestrian Bicyclist".split()
SHORT = {"train": {"crop": 64}, "base": {"epochs": 1}, "increment": {"epochs": 1}}


class Checkout:
    """A checkout in which nothing has run, and what the tutorial types in it."""

    def __init__(self, path: Path):
        self.path = path
        for name in ("src", "pipeline", "profiles"):
            shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Snakefile", path)

    def call(self, *words) -> str:
        paths = {"PYTHONPATH": f"{self.path / 'src'}:{self.path}"}
        command = [sys.executable, "-m", *map(str, words)]
        done = subprocess.run(
            command, cwd=self.path, env={**os.environ, **paths}, stdout=-1, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout
        return done.stdout


SIZES = ((200, 150), (150, 200), (200, 112), (180, 180))
STORED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""How a camera turns an upright image before it stores it, by the EXIF orientation that it writes."""


def photograph(place: Path, count: int) -> Path:
    """Photos with a JSON file of labelme beside each: of several sizes, upright and rotated, with names of cameras."""
    shapes.draw(place / "drawn", seed=1, size=200, train=count, val=1, objects=(3, 5))
    photos = place / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted((place / "drawn" / "images").glob("train*"))):
        width, height = SIZES[number % len(SIZES)]
        box = (200 - width, 200 - height, 200, 200)
        mask = np.array(Image.open(place / "drawn" / "masks" / path.name).crop(box))
        image = ImageEnhance.Brightness(Image.open(path).crop(box)).enhance(0.6 + 0.7 * (number / count))
        exif, orientation = Image.Exif(), (1, 6, 1, 3, 8)[number % 5]
        exif[reader.ORIENTATION] = orientation
        stored = image if STORED[orientation] is None else image.transpose(STORED[orientation])
        name = f"IMG {number:04}.{('JPG', 'jpg', 'jpeg')[number % 3]}"
        stored.save(photos / name, quality=85, exif=exif)
        whole = [[0, 0], [width - 1, height - 1]]
        drawn = [
            shape(shapes.SHAPES[label], "mask", whole, mask=png(mask == label)) for label in np.unique(mask) if label
        ]
        write(photos / f"IMG {number:04}.json", *drawn, image=name, width=width, height=height)
    return photos


def few(root: Path, place: Path, train: int, val: int) -> Path:
    """A part of a data set: the first images of its lists."""
    shutil.copytree(root, place, ignore=shutil.ignore_patterns("*.jpg", "*.png"))
    for split, count in (("train", train), ("val", val), ("test", val)):
        path = place / "splits" / f"{split}.txt"
        ids = path.read_text().split()[:: len(path.read_text().split()) // count][:count]
        path.write_text("\n".join(ids))
        for id in ids:
            for folder in ("images", "masks"):
                [found] = (root / folder).glob(f"{id}.*")
                shutil.copy(found, place / folder)
    return place


def follow(checkout: Checkout, root: Path, **keys) -> list[dict]:
    """Type what the section says, with `keys` of a run; the rows of metrics/steps.csv by the preset's protocol."""
    assert all(f"`{command}`" in SECTION for command in COMMANDS)
    text = re.sub(r"^   ", "", SECTION, flags=re.M)
    params = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    [run] = params["runs"]
    assert (run["dataset"], run["preset"]) == ("garden", "small")
    values = {"data": {"root": str(root)}, **keys.pop("set", {})}
    params = {"runs": [{**run, "seed": 0, **keys, "set": values}], "runtime": {"device": "cpu"}}
    (checkout.path / "params.yaml").write_text(yaml.safe_dump(params))

    assert re.search(
        r"^class +train evaluate +pixels$", checkout.call("dkd.cli", "index", root, "--out", "a.csv"), re.M
    )
    assert re.search(r"^base +1$", checkout.call("snakemake", "-n"), re.M)
    checkout.call("snakemake", "--cores", "2")
    assert "Nothing to be done" in checkout.call("snakemake", "--cores", "2")
    assert "the next run makes nothing" in checkout.call("pipeline", "status")
    page = (checkout.path / "report" / "index.html").read_text()
    assert "garden" in page and len(page) > 10_000

    assert "dkd predict checkpoints/increment" in LABELLING
    [last] = checkout.path.glob(f"checkpoints/increment/garden/overlap/{'+'.join(map(str, keys['scenario']))}/dkd-s0-*")
    image = next((root / "images").iterdir())
    checkout.call("dkd.cli", "predict", last, image, "--out", "labelled", "--device", "cpu")
    with Image.open(checkout.path / "labelled" / "masks" / f"{image.stem}.png") as mask:
        assert mask.size == reader.image_size(image)[::-1]
    with (checkout.path / "metrics" / "steps.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["protocol"] == "full_image"]


def learned(checkout: Checkout, rows: list[dict], trainings: int):
    """Every training has learned, and none has lost what the base knew."""
    histories = list(checkout.path.glob("checkpoints/*/garden/overlap/*/*/train.csv"))
    assert len(histories) == trainings
    for path in histories:
        with path.open() as file:
            totals = [float(row["total"]) for row in csv.DictReader(file)]
        assert totals[-1] < totals[0], path
    before = {row["run"]: float(row["base"]) for row in rows if row["step"] == "0"}
    assert min(before.values()) > 15
    assert all(float(row["base"]) > 0.7 * before[row["run"]] for row in rows)


@pytest.mark.slow
def test_photos_from_a_phone(tmp_path):
    checkout = Checkout(tmp_path / "checkout")
    said = checkout.call("dkd.cli", "convert", photograph(tmp_path, 40), "--out", "data/raw/garden")
    assert "24 images turned upright" in said
    root = checkout.path / "data" / "raw" / "garden"
    learned(checkout, follow(checkout, root, scenario=[4, 2], method="dkd"), 2)


@pytest.mark.slow
@pytest.mark.shared
def test_forty_road_scenes(tmp_path):
    """With the recipe of the data set `shapes`, the training diverges on these."""
    root = few(SHARED / "data" / "camvid_240x180", tmp_path / "few", 40, 20)
    checkout = Checkout(tmp_path / "checkout")
    learned(checkout, follow(checkout, root, scenario=[5, 3], method="dkd", order=EIGHT), 2)


@pytest.mark.slow
@pytest.mark.shared
def test_a_part_of_a_real_data_set_by_a_short_training(tmp_path):
    root = few(SHARED / "data" / "ccp_320", tmp_path / "few", 100, 20)
    rows = follow(Checkout(tmp_path / "checkout"), root, scenario=[12, 2], method="dkd", set=SHORT)
    assert [row["step"] for row in rows] == ["0", "1"] and all(0 < float(row["all"]) < 100 for row in rows)
