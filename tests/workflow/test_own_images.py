"""The section of the tutorial on one's own images, command by command, on drawn photos and on real ones."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dkd.data import reader, shapes
from tests.conftest import SHARED
from tests.dkd.convert.test_labelme import png, shape, write

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "tutorial.md").read_text().split("## 4. Your own data set")[1].split("\n## ")[0]
LABELLING = (ROOT / "docs" / "tutorial.md").read_text().split("## 2. Label images")[1].split("\n## ")[0]
EIGHT = "Sky Building Road Pavement Tree Car Pedestrian Bicyclist".split()
TINY = {"train": {"crop": 64}, "base": {"epochs": 1}, "increment": {"epochs": 1}}


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


def photograph(place: Path) -> Path:
    """Photos with a JSON file of labelme beside each: of several sizes, upright and rotated, with names of cameras."""
    shapes.draw(place / "drawn", seed=1, size=200, train=60, val=1, objects=(3, 5))
    photos = place / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted((place / "drawn" / "images").glob("train*"))):
        draw = np.random.default_rng(number)
        width, height = ((200, 150), (150, 200), (200, 112), (180, 180))[number % 4]
        box = (*(200 - np.array([width, height]) - draw.integers(0, 1)).tolist(), 200, 200)
        mask = np.array(Image.open(place / "drawn" / "masks" / path.name).crop(box))
        orientation = (1, 6, 1, 3, 8)[number % 5]
        undone = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180, 8: Image.Transpose.ROTATE_270}
        image = Image.open(path).crop(box).point(lambda value, gain=draw.uniform(0.6, 1.3): value * gain)
        exif = Image.Exif()
        exif[reader.ORIENTATION] = orientation
        stored = image.transpose(undone[orientation]) if orientation in undone else image
        name = f"IMG {number:04}.{('JPG', 'jpg', 'jpeg')[number % 3]}"
        stored.save(photos / name, quality=85, exif=exif)
        stencils = [(shapes.SHAPES[label], mask == label) for label in np.unique(mask) if label]
        drawn = [shape(label, "mask", [[0, 0], [width - 1, height - 1]], mask=png(there)) for label, there in stencils]
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


def follow(checkout: Checkout, root: Path, sizes, methods, order, values) -> dict[str, float]:
    """Type what the section says; the mean IoU over all classes that was reached, by method."""
    text = re.sub(r"^   ", "", SECTION, flags=re.M)
    params = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    [run] = params["runs"]
    assert run["preset"] == "small" and run["dataset"] == "garden"
    run |= {"scenario": sizes, "method": methods, "seed": 0, "set": {"data": {"root": str(root)}, **values}}
    run |= {"order": order} if order else {}
    (checkout.path / "params.yaml").write_text(yaml.safe_dump({**params, "runtime": {"device": "cpu"}}))
    for command in (
        "dkd index ROOT --out check.csv",
        "snakemake -n",
        "snakemake --cores 8",
        "python -m pipeline status",
    ):
        assert f"`{command}`" in SECTION
    seen = checkout.call("dkd.cli", "index", root, "--out", "check.csv")
    assert re.search(r"^class +train evaluate +pixels$", seen, re.M)
    assert re.search(r"^base +1$", checkout.call("snakemake", "-n"), re.M)
    checkout.call("snakemake", "--cores", "2")
    assert "Nothing to be done" in checkout.call("snakemake", "--cores", "2")
    checkout.call("pipeline", "status")
    assert (checkout.path / "report" / "index.html").stat().st_size > 10_000

    assert "dkd predict checkpoints/increment" in LABELLING
    *_, last = sorted(
        checkout.path.glob("checkpoints/increment/garden/overlap/*/dkd-s0-*"), key=lambda path: len(path.parts[-2])
    )
    image = next((root / "images").iterdir())
    checkout.call("dkd.cli", "predict", last, image, "--out", "labelled", "--device", "cpu")
    with Image.open(checkout.path / "labelled" / "masks" / f"{image.stem}.png") as mask:
        assert mask.size == reader.image_size(image)[::-1]
    groups = json.loads((checkout.path / "metrics" / "summary.json").read_text())
    for path in checkout.path.glob("checkpoints/*/garden/overlap/*/*/train.csv"):
        rows = list(csv.DictReader(path.open()))
        print(path.relative_to(checkout.path), rows[0]["total"], rows[-1]["total"])
    print(groups)
    return groups


@pytest.mark.slow
def test_photos_from_a_phone(tmp_path):
    checkout = Checkout(tmp_path / "checkout")
    said = checkout.call("dkd.cli", "convert", photograph(tmp_path), "--out", "data/raw/garden")
    assert "36 images turned upright" in said
    follow(checkout, checkout.path / "data" / "raw" / "garden", "4-1", ["kd", "dkd"], None, {})


@pytest.mark.slow
@pytest.mark.shared
def test_forty_road_scenes(tmp_path):
    root = few(SHARED / "data" / "camvid_240x180", tmp_path / "few", 40, 20)
    follow(Checkout(tmp_path / "checkout"), root, "5-3", ["kd", "dkd"], EIGHT, {})


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("name", "sizes"), [("ccp_320", "12-2"), ("camvid_240x180", "8-3")])
def test_real_data_sets_by_a_short_training(tmp_path, name, sizes):
    follow(Checkout(tmp_path / "checkout"), SHARED / "data" / name, sizes, ["dkd"], None, TINY)
