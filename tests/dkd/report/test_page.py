"""The page shows what the files say, needs no other file, and lists what is missing."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from dkd.report import page
from dkd.use import samples
from pipeline.rules import RULES


class Reader(HTMLParser):
    """Collects addresses and ids, and checks that elements close."""

    EMPTY = ("meta", "link", "img", "br", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.ids = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [attrs[name] for name in ("src", "href", "action", "srcset") if attrs.get(name)]
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_it_needs_no_other_file(written):
    text = (written / "index.html").read_text()
    assert len(text) < 10_000_000
    reader = Reader(text)
    assert all(address.startswith(("data:", "#", "../metrics/", "../logs/")) for address in reader.addresses)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|http-equiv=.refresh", text)
    inside = {address[1:] for address in reader.addresses if address.startswith("#")}
    assert inside <= set(reader.ids) and len(reader.ids) == len(set(reader.ids))


def test_it_shows_what_the_files_say(inputs, written):
    text = (written / "index.html").read_text()
    group = json.loads((inputs[1]["summary"] / "groups.json").read_text())["shapes_4-2_overlap_dkd"]
    assert f"{group['all']['mean']:.2f} <small>± {group['all']['sd']:.2f}</small>" in text
    assert "abc123 with uncommitted changes" in text and "torch 2.9" in text and ">Missing<" not in text
    assert "Measured on 8 test images" in text and "minus the entropy of the targets" in text
    titles = re.findall("<title>(.*?)</title>", text)
    assert "dkd, step 0: 50.5 ± 0.7" in titles and "square, step 1: 36.5" in titles and "disc, dkd: 10 points" in titles
    assert all(f'data-class="{name}"' in text for name in ("background", "disc", "star"))


@pytest.fixture
def without_files(monkeypatch):
    """Of the figures, only those inside the page are drawn, to save time."""
    monkeypatch.setattr(page, "_save", lambda *_: None)


WRITE = """
import json, sys
from pathlib import Path
from dkd.report import page
runs, found, out = json.loads(sys.argv[1])
page.write(runs, {name: Path(path) for name, path in found.items()}, 2, {}, Path(out))
"""


@pytest.mark.slow
def test_files_are_the_same_to_the_byte_wherever_they_are_made(inputs, written, tmp_path):
    """Whatever the seed of Python's hashes, the date and the user's own settings of Matplotlib."""
    assert {path.name for path in written.iterdir()} == set(RULES["page"].files)
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsvg.fonttype: path\nlines.linewidth: 9\n")
    here = os.pathsep.join(path for path in sys.path if path)
    variables = {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "1", "PYTHONPATH": here}
    out = tmp_path / "out"
    out.mkdir()
    content = json.dumps([inputs[0], {name: str(path) for name, path in inputs[1].items()}, str(out)])
    subprocess.run([sys.executable, "-c", WRITE, content], env={**os.environ, **variables}, check=True)
    assert [path.name for path in written.iterdir() if path.read_bytes() != (out / path.name).read_bytes()] == []


@pytest.mark.parametrize("kept", ["nothing", "step 0 of one run"])
def test_partial_results_of_two_settings_give_a_page(inputs, tmp_path, kept):
    runs, found = [{**inputs[0][0]}, {**inputs[0][1], "setting": "disjoint"}], inputs[1]
    some = {name: path for name, path in found.items() if kept != "nothing" and f"{runs[0]['name']}/0" in name}
    reason = "dkd: the loss is <nan>"
    page.write(runs, some, 1, {f"{runs[0]['name']}/1/checkpoint": reason}, tmp_path)
    text = (tmp_path / "index.html").read_text()
    Reader(text)
    assert f"{len(runs) * 2 * 3 + 1 - len(some)} items are missing" in text and "tables over all runs" in text
    assert f"{runs[0]['name']}, step 1: training failed: dkd: the loss is &lt;nan&gt;" in text
    assert all(f"<h3>shapes 4-2 {run['setting']}</h3>" in text for run in runs)
    assert {path.name for path in tmp_path.iterdir()} == set(RULES["page"].files)


def test_a_run_that_is_not_finished_says_why_and_the_others_have_their_numbers(inputs, tmp_path, without_files):
    runs, found = inputs
    names = [run["name"] for run in runs]
    log = "logs/checkpoints/increment/shapes/overlap/4+2/dkd-s1-0123456789ab.log"
    some = {name: path for name, path in found.items() if not name.startswith(f"{names[1]}/1") and name != "summary"}
    page.write(runs, some, 1, {f"{names[1]}/1/checkpoint": f"dkd: out of memory (dkd-s1 4+2, log: {log})"}, tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert "1 of 2 runs is not finished" in text
    [row] = re.findall(r'<td data-left class="state"[^>]*>(.*?)</td>', text)
    link = f'<a href="../{log}">log</a>'
    assert row == f"failed, 1 of 2 steps evaluated: step 1: training: dkd: out of memory (dkd-s1 4+2) {link}"
    assert f"{names[1]}, step 1: training failed: dkd: out of memory (dkd-s1 4+2) {link}" in text
    final = json.loads((found["summary"] / "summary.json").read_text())[names[0]]
    assert f'{names[0]}</th><td data-value="0">0</td><td data-value="{final["all"]}">' in text
    del some[f"{names[0]}/1"]
    page.write(runs, some, 1, {}, tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert text.count("not finished, 1 of 2 steps evaluated</td>") == 2 and "2 of 2 runs are not finished" in text


def test_evidence_is_in_the_page_as_far_as_there_is_and_room(inputs, written, tmp_path, monkeypatch, without_files):
    runs, found = inputs[0][:1], dict(inputs[1])
    name, maps = f"{runs[0]['name']}/1/panels", "data-maps="
    assert (written / "index.html").read_text().count(maps) == 2 * samples.COUNT
    earlier = tmp_path / "earlier"
    shutil.copytree(found[name], earlier)
    content = json.loads((earlier / "panels.json").read_text())
    del content["evidence"]
    for each in content["pictures"]:
        del each["evidence"]
    (earlier / "panels.json").write_text(json.dumps(content))
    page.write(runs, {**found, name: earlier}, 1, {}, tmp_path)
    assert (tmp_path / "index.html").read_text().count(maps) == samples.COUNT
    monkeypatch.setattr(page, "EVIDENCE_BYTES", 5000)
    page.write(runs, found, 1, {}, tmp_path)
    text = (tmp_path / "index.html").read_text()
    shown = text.count(maps) // 2
    assert 0 < shown < samples.COUNT and text.count(": ground truth") == samples.COUNT
    assert f"evidence of sample images left out to keep this page small: {samples.COUNT - shown} (they" in text


def test_names_are_shown_as_they_are_and_images_that_make_the_page_too_large_are_left_out(
    inputs, tmp_path, monkeypatch, without_files
):
    runs, found = inputs[0][:1], dict(inputs[1])
    key = f"{runs[0]['name']}/1"
    text = (found[key] / "metrics.json").read_text()
    found[key] = tmp_path / "strange"
    found[key].mkdir()
    (found[key] / "metrics.json").write_text(text.replace('"star"', r'"<b a=\"1\">&$\\frac$"'))
    monkeypatch.setattr(page, "SAMPLE_BYTES", 20_000)
    page.write(runs, found, 1, {}, tmp_path)
    text = (tmp_path / "index.html").read_text()
    Reader(text)
    assert "<b a=" not in text and "&lt;b a=&#34;1&#34;&gt;&amp;$\\frac$" in text
    assert "sample images left out to keep this page small: " in text
