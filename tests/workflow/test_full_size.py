"""The benchmarks at their full number of pictures, made from the published class tables: real commands, real lists."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from dkd import scenario
from dkd.data import index as index_file
from dkd.data import tasks
from tests.conftest import ROOT, SHARED
from tests.dkd.command import run

pytestmark = [pytest.mark.shared, pytest.mark.slow]
WIDTH = 64
SCENARIOS = {
    "voc2012": ("19-1", "15-5", "15-1", "10-1", "10-5", "10-10", "5-3", "5-1", "2-1", "2-2"),
    "ade20k": ("100-50", "100-10", "100-5", "50-50"),
}


def lay_out(root, tables, places):
    """Masks that show the classes of every picture, and one picture for all; returns how many there are."""
    picture = root / "picture.jpg"
    root.mkdir()
    Image.new("RGB", (WIDTH, 1)).save(picture)
    count = 0
    for table, (images, masks, listed) in zip(tables, places, strict=True):
        ids = []
        for line in table.read_text().splitlines():
            id, *labels = line.split()
            for folder in (images, masks):
                (root / folder).mkdir(parents=True, exist_ok=True)
            os.link(picture, root / images / f"{id}.jpg")
            pixels = bytes([*map(int, labels), 0, 255]).ljust(WIDTH, b"\0")
            Image.frombytes("L", (WIDTH, 1), pixels).save(root / masks / f"{id}.png")
            ids.append(id)
        if listed:
            (root / listed).parent.mkdir(parents=True, exist_ok=True)
            (root / listed).write_text("\n".join(ids) + "\n")
        count += len(ids)
    return count


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    tables = [SHARED / "data" / "class_tables" / f"voc2012_{name}.txt" for name in ("train_aug", "val")]
    lists = "ImageSets/Segmentation"
    places = [("JPEGImages", "SegmentationClassAug", f"{lists}/{name}.txt") for name in ("trainaug", "val")]
    root = tmp_path_factory.mktemp("voc") / "voc2012"
    assert lay_out(root, tables, places) == 10_582 + 1_449
    return root


@pytest.fixture(scope="module")
def ade(tmp_path_factory):
    names = ("training", "validation")
    tables = [SHARED / "data" / "class_tables" / f"ade20k_{name}.txt" for name in names]
    places = [(f"images/{name}", f"annotations/{name}", None) for name in names]
    root = tmp_path_factory.mktemp("ade") / "ade20k"
    assert lay_out(root, tables, places) == 20_210 + 2_000
    return root


def digest(ids):
    return {"images": len(ids), "sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest()}


def test_voc_lists_come_out_as_published(voc, golden, tmp_path, monkeypatch):
    index = tmp_path / "index.csv"
    run(monkeypatch, "index", voc, "--format", "voc", "--out", index)
    known, found = golden("splits.json"), {}
    for name in SCENARIOS["voc2012"]:
        for setting in ("overlap", "disjoint"):
            out = tmp_path / f"{name}-{setting}.json"
            run(monkeypatch, "split", index, "--scenario", name, "--setting", setting, "--out", out)
            for step in json.loads(out.read_text())["steps"]:
                for split in ("train", "val", "test"):
                    found[f"voc2012/{setting}/{name}/{split}/{step['step']}"] = digest(step[split])
    assert len(known) > 60 and {key: found[key] for key in known} == known


def test_ade_lists_leave_out_what_shows_nothing(ade, tmp_path, monkeypatch):
    run(monkeypatch, "index", ade, "--format", "ade20k", "--out", tmp_path / "index.csv")
    table = index_file.read(tmp_path / "index.csv")
    assert len(table.rows) == 22_210 and len(table.class_names) == 151
    for name in SCENARIOS["ade20k"]:
        sizes = scenario.step_sizes(name, 150)
        for setting in tasks.SETTINGS:
            steps = tasks.split(table, setting=setting, order=range(1, 151), sizes=sizes, seed=None)["steps"]
            assert len(steps) == len(sizes) and all(step["train"] and step["test"] for step in steps)
            if (name, setting) == ("100-50", "overlap"):
                assert len(steps[0]["train"]) == 20_210 - 18


def test_the_plan_of_the_paper_has_each_base_once(voc, tmp_path):
    scenarios = ["19-1", "15-5", "15-1", "10-1", "5-3"]
    run = {"dataset": "voc2012", "scenario": scenarios, "setting": ["overlap", "disjoint"], "seed": 1}
    run["method"] = ["finetune", "kd", "dkd"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"runs": [run], "data": {"root": str(voc)}}))
    command = [sys.executable, "-m", "snakemake", "-n", "--directory", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout + done.stderr
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text[text.index("Job stats") :], re.M)}
    later = 1 + 1 + 5 + 10 + 5
    expected = {"index": 1, "split": 2 * (4 + 5), "base": 2 * 4, "increment": 2 * 3 * later, "summary": 1}
    expected["evaluate"] = expected["panels"] = expected["base"] + expected["increment"]
    expected["page"] = 1
    assert {name: jobs[name] for name in expected} == expected
