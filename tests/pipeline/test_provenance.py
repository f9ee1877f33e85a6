import json
import os
from pathlib import Path

import pytest

from dkd.files import digest as file_digest
from pipeline import provenance
from pipeline.plan import STAMP

KEY = "0123456789ab"
RECORD = {"schema": 1, "rule": "draw", "key": KEY, "params": {}, "inputs": {}, "code": {}, "finished": "2100-01-02"}


@pytest.fixture
def node(tmp_path):
    """The folder of a node with two files."""
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.txt").write_text("a")
    (tmp_path / "classes.txt").write_text("background")
    provenance.write(tmp_path, RECORD)
    return tmp_path


def alter(node, **fields):
    record = json.loads((node / STAMP).read_text())
    (node / STAMP).write_text(json.dumps({**record, **fields}))


def test_what_is_written_is_read_and_says_what_the_folder_holds(node):
    record = provenance.read(node)
    assert record.items() > RECORD.items()
    digest = file_digest(node / "classes.txt")
    assert record["files"].keys() == {"classes.txt", "splits/train.txt"}
    assert record["files"]["classes.txt"] == {"size": 10, "sha256": digest}
    assert provenance.read(node)["digest"] == record["digest"]
    assert provenance.damage(node, KEY, verify=True) is None


def test_all_of_a_node_is_written_through_to_the_disk(node, monkeypatch):
    (node / STAMP).unlink()
    flushed = set()
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.add(os.fstat(handle).st_ino))
    provenance.write(node, RECORD)
    assert flushed == {path.stat().st_ino for path in [node, *node.rglob("*")]}


def test_the_digest_follows_from_key_and_content(node):
    first = provenance.read(node)["digest"]
    (node / STAMP).unlink()
    provenance.write(node, {**RECORD, "finished": "2101-01-01", "params": {"size": 3}})
    assert provenance.read(node)["digest"] == first
    (node / STAMP).unlink()
    provenance.write(node, {**RECORD, "key": "ba9876543210"})
    assert provenance.read(node)["digest"] != first


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": 2},
        {"files": []},
        {"files": {"a": 3}},
        {"files": {"a": {"size": "3", "sha256": ""}}},
        {"inputs": []},
        {"inputs": {"data": {"key": KEY}}},
        {"params": None},
        {"digest": 3},
        {"adopted": 3},
        {"adopted": [3]},
        {"finished": 3},
        {"seconds": "long"},
    ],
    ids=str,
)
def test_a_field_of_another_kind_makes_the_record_unreadable(node, fields):
    alter(node, **fields)
    assert provenance.read(node) is None
    assert provenance.damage(node, KEY, verify=False) == "provenance.json is not readable"


@pytest.mark.parametrize("name", provenance.FIELDS)
def test_a_missing_field_makes_the_record_unreadable(node, name):
    record = json.loads((node / STAMP).read_text())
    del record[name]
    (node / STAMP).write_text(json.dumps(record))
    assert provenance.read(node) is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"schema": 1}', "[" * 10_000 + "]" * 10_000],
    ids=["empty", "cut", "list", "number", "no fields", "deep"],
)
def test_a_record_that_makes_no_sense_is_damage(node, text):
    (node / STAMP).write_text(text)
    assert provenance.read(node) is None
    assert provenance.damage(node, KEY, verify=False) == "provenance.json is not readable"


def test_a_folder_without_a_record_has_no_digest(tmp_path):
    assert provenance.read(tmp_path / "nowhere") is None and provenance.read(tmp_path) is None


def test_damage_is_named(node):
    assert provenance.damage(node, "ba9876543210", verify=False) == "provenance.json is not readable"
    (node / "classes.txt").write_text("BACKGROUND")
    assert provenance.damage(node, KEY, verify=False) is None
    assert provenance.damage(node, KEY, verify=True) == "classes.txt does not hold what was written"
    (node / "classes.txt").write_text("back")
    assert provenance.damage(node, KEY, verify=False) == "classes.txt has 4 bytes instead of 10"
    (node / "classes.txt").unlink()
    assert provenance.damage(node, KEY, verify=False) == "classes.txt is missing"


def test_a_record_that_was_edited_is_found_when_verified(node):
    (node / "classes.txt").write_text("BACKGROUND")
    facts = {"size": 10, "sha256": file_digest(node / "classes.txt")}
    alter(node, files={**provenance.read(node)["files"], "classes.txt": facts})
    assert provenance.damage(node, KEY, verify=False) is None
    assert provenance.damage(node, KEY, verify=True) == "provenance.json does not hold what was written"


def test_a_node_is_as_old_as_its_present_key(node):
    record = provenance.read(node)
    assert provenance.latest(record) == "2100-01-02"
    assert provenance.latest({**record, "adopted": [{"when": "2100-01-03"}, {"when": "2100-01-04"}]}) == "2100-01-04"


def test_an_input_that_holds_other_content_is_named(workplace):
    workplace.make()
    draw, index = workplace.folder("made/shapes"), workplace.folder("index/shapes")
    node = workplace.plan.node(index)
    assert provenance.replaced_input(node, Path(index)) is None
    Path(draw).rename("elsewhere")
    assert provenance.replaced_input(node, Path(index)) is None, "it may come out the same"
    workplace.write("draw", "drawn again")
    workplace.make(draw)
    words = f"its input {draw} is not the one that it was made from"
    assert provenance.replaced_input(node, Path(index)) == words


def test_surroundings_name_every_library(monkeypatch):
    found = provenance.surroundings()
    assert found["versions"].keys() == {"python", *provenance.LIBRARIES} and found["versions"]["snakemake"]
    monkeypatch.setattr(provenance, "ROOT", "/")
    assert provenance.surroundings()["git"] == {"commit": None, "dirty": None}
