"""The page shows what the files say, needs nothing besides itself, and says what is missing."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dkd.data import catalog
from dkd.methods import dkd
from dkd.report import charts, page
from dkd.report import tables as summary
from dkd.use import samples as panels

from .conftest import LATER, RUNTIME, train_base, train_step

RUN = {"dataset": "shapes", "setting": "overlap", "method": "dkd", "sizes": [4, 1, 1], "protocol": "paper"}
RUN |= {"order": [1, 2, 3, 4, 5, 6]}


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """A base and the step after it, their pictures, and made-up metrics of two seeds."""
    top = tmp_path_factory.mktemp("run")
    folders = {name: top / name for name in ("base", "step", "base-panels", "step-panels")}
    for folder in folders.values():
        folder.mkdir()
    train_base(prepared, folders["base"])
    train_step(prepared, folders["step"], folders["base"], dkd, recipe=LATER._replace(lr=0.01, head_init="auxiliary"))
    panels.write(folders["base"], None, 0, prepared, RUNTIME, folders["base-panels"])
    panels.write(folders["step"], folders["base"], 1, prepared, RUNTIME, folders["step-panels"])
    return top, folders


def results(folder, step, seed, names):
    folder.mkdir(parents=True)
    per_class = {name: 40.0 + 3 * k + seed - 10 * step for k, name in enumerate(names)}
    means = {"all": 50.0 + seed, "base": 60.0, "new": 20.0 if step else None, "harmonic": None, "pixel_accuracy": 90.0}
    values = {**means, "foreground": dict(means), "per_class": per_class}
    content = {"step": step, "protocols": {"paper": values}}
    (folder / "metrics.json").write_text(json.dumps(content))
    counts = np.random.default_rng(seed).integers(0, 99, (len(names), len(names)))
    np.savez_compressed(folder / "confusion.npz", names=np.array(names), paper=counts)
    record = {"key": f"{step}{seed}".ljust(12, "0"), "seconds": 2.0, "started": "2030-01-01T00:00:00+00:00"}
    record |= {"finished": "2030-01-01T00:00:02+00:00", "params": {"crop": 64}, "inputs": {}, "runtime": {}}
    record |= {"git": {"commit": "abc123", "dirty": True}, "versions": {"torch": "2.9"}, "platform": "x"}
    record |= {"cost": {"device": "cpu", "images": 8, "peak_memory_bytes": 2**30}}
    (folder / "provenance.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def inputs(trained, tmp_path):
    """Two seeds of two steps; the training and the pictures are those of one."""
    _, folders = trained
    runs, found = [], {}
    for seed in (0, 1):
        name = f"shapes_4-1_overlap_dkd_s{seed}"
        runs.append({**RUN, "name": name, "seed": seed, "steps": [0, 1], "sizes": [4, 2]})
        for step in (0, 1):
            names = catalog.SHAPES[: 5 + 2 * step]
            found[f"{name}/{step}"] = results(tmp_path / f"{seed}-{step}", step, seed, names)
            found[f"{name}/{step}/checkpoint"] = folders["step" if step else "base"]
            found[f"{name}/{step}/panels"] = folders["step-panels" if step else "base-panels"]
    tables = tmp_path / "summary"
    tables.mkdir()
    paths = {run["name"]: [found[f"{run['name']}/{step}"] / "metrics.json" for step in (0, 1)] for run in runs}
    summary.write(runs, paths, 1, tables)
    return runs, {**found, "summary": tables}


class Reader(HTMLParser):
    """Collects addresses and checks that elements close."""

    EMPTY = "meta link img br input line rect polyline polygon image".split()

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [attrs[name] for name in ("src", "href", "action", "srcset") if attrs.get(name)]
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def read(path):
    reader = Reader()
    text = path.read_text()
    reader.feed(text)
    assert not reader.open
    return text, reader


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_needs_nothing_besides_itself(inputs, tmp_path):
    page.write(*inputs, 1, {}, tmp_path)
    text, reader = read(tmp_path / "index.html")
    assert len(text) < 10_000_000
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|http-equiv=.refresh", text)
    inside = {address[1:] for address in reader.addresses if address.startswith("#")}
    assert inside <= set(reader.ids) and len(reader.ids) == len(set(reader.ids))
    assert "Missing" not in text


def test_it_says_what_the_files_say(inputs, tmp_path):
    page.write(*inputs, 2, {}, tmp_path)
    text, _ = read(tmp_path / "index.html")
    group = json.loads((inputs[1]["summary"] / "groups.json").read_text())["shapes_4-2_overlap_dkd"]
    assert f"{group['all']['mean']:.2f} <small>± {group['all']['sd']:.2f}</small>" in text
    assert "abc123 with changes" in text and "torch 2.9" in text
    assert "Over 8 test pictures" in text and "the entropy of the targets, is taken off" in text
    lost = rows(tmp_path / "forgetting.csv")
    assert {row["class"] for row in lost} == set(catalog.SHAPES[1:5])
    assert {float(row["forgetting"]) for row in lost} == {10.0} and {row["learned"] for row in lost} == {"0"}
    counts = np.load(inputs[1]["shapes_4-1_overlap_dkd_s1/1"] / "confusion.npz")["paper"]
    found = rows(tmp_path / "confusion.csv")
    one = next(
        row for row in found if row["run"].endswith("s1") and (row["truth"], row["prediction"]) == ("disc", "star")
    )
    assert int(one["pixels"]) == counts[1, 6] and float(one["share"]) == pytest.approx(
        counts[1, 6] / counts[1].sum(), abs=1e-6
    )
    cost = rows(tmp_path / "cost.csv")[0]
    assert cost["images_per_second"] == "4.0" and cost["peak_memory_gib"] == "1.0"


@pytest.mark.parametrize("left", ["nothing", "metrics", "all but tables", "one step"])
def test_partial_results_give_a_page_that_says_what_is_missing(inputs, tmp_path, left):
    runs, found = inputs
    some = {
        "nothing": {},
        "metrics": {name: path for name, path in found.items() if name.count("/") == 1},
        "all but tables": {name: path for name, path in found.items() if name != "summary"},
        "one step": {name: path for name, path in found.items() if "/0" in name},
    }[left]
    out = tmp_path / "out"
    out.mkdir()
    page.write(runs, some, 1, {}, out)
    text, _ = read(out / "index.html")
    missing = len(runs) * 2 * 3 + 1 - len(some)
    assert f"{missing} piece" in text and "tables over all runs" in text
    assert {path.name for path in out.glob("*.png")} == {f"{name}.png" for name in page.FIGURES}


def test_what_failed_is_shown_with_its_reason(inputs, tmp_path):
    runs, found = inputs
    name = f"{runs[0]['name']}/1/checkpoint"
    failed = {name: "dkd: the loss is <nan>", f"{runs[0]['name']}/0": "an old reason of what is there by now"}
    page.write(runs, {each: path for each, path in found.items() if each != name}, 1, failed, tmp_path)
    text, _ = read(tmp_path / "index.html")
    assert f"{runs[0]['name']}, step 1: training failed: dkd: the loss is &lt;nan&gt;" in text
    assert "an old reason" not in text


def test_pictures_that_make_the_page_too_large_are_left_out_and_told_of(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PANEL_BYTES", 20_000)
    page.write(*inputs, 1, {}, tmp_path)
    text, _ = read(tmp_path / "index.html")
    assert "pictures that would make this page too large: " in text


def test_names_cannot_break_the_page(inputs, tmp_path):
    runs, found = inputs
    place = found[f"{runs[0]['name']}/1"] / "metrics.json"
    content = json.loads(place.read_text())
    per_class = content["protocols"]["paper"]["per_class"]
    content["protocols"]["paper"]["per_class"] = {
        name.replace("star", '<b a="1">&'): v for name, v in per_class.items()
    }
    place.write_text(json.dumps(content, ensure_ascii=False))
    page.write(runs, found, 1, {}, tmp_path)
    text, _ = read(tmp_path / "index.html")
    assert "<b a=" not in text


def test_ticks_are_round_and_hold_all():
    for low, high in ((0, 73.2), (-3, 0.5), (0, 0), (0, 1e-5), (12, 3000)):
        ticks = charts.ticks(low, high)
        assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 8
