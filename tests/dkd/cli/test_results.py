"""From images to a table, one command after the other."""

import json
import shutil

import pytest

from tests.dkd.command import SETTINGS, CommandError

from .conftest import SHAPES


def test_from_images_to_a_table(dkd, files, tmp_path, capsys):
    base, later, table = tmp_path / "base", tmp_path / "later", tmp_path / "report"
    dkd("train", *files, "--step", 0, "--out", base, *SHAPES)
    dkd("train", *files, "--step", 1, "--method", "dkd", "--previous", base, "--out", later, *SHAPES)
    results = [tmp_path / "base-results", tmp_path / "later-results"]
    for checkpoint, out in zip((base, later), results, strict=True):
        dkd("evaluate", checkpoint, *files, "--out", out, *SETTINGS)
    capsys.readouterr()
    dkd("report", *results, "--tasks", files[-1], "--out", table)
    assert capsys.readouterr().out.splitlines()[1].startswith("shapes_4-2_overlap_dkd_s0 ")
    final = json.loads((table / "summary.json").read_text())["shapes_4-2_overlap_dkd_s0"]
    assert (table / "index.html").is_file()
    last = json.loads((results[1] / "metrics.json").read_text())["protocols"]["paper"]
    assert final["all"] == last["all"] and final["forgetting"] is not None
    refuse_what_is_no_run(dkd, results, files[-1], tmp_path)
    # The same from the checkpoint and the images alone, by the preset of the checkpoint's data set.
    dkd("evaluate", later, *files[:2], "--out", tmp_path / "alone", *SETTINGS)
    assert capsys.readouterr().out.startswith(f"paper: all {last['all']:.2f}, base ")
    assert json.loads((tmp_path / "alone" / "metrics.json").read_text())["protocols"]["paper"] == last
    take_all_classes_at_once(dkd, results[1], files[-1], tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def refuse_what_is_no_run(dkd, results, tasks, place):
    """Results in the wrong order or twice, and damaged ones, are one line; nothing is written."""
    damaged = shutil.copytree(results[1], place / "damaged")
    content = json.loads((damaged / "metrics.json").read_text())

    def refuse(words, *folders):
        with pytest.raises(CommandError, match=words) as caught:
            dkd("report", *folders, "--tasks", tasks, "--out", place / "none")
        assert "\n" not in str(caught.value) and not (place / "none").exists()

    refuse("later-results: holds the results of step 1, expected step 0; name the results", *reversed(results))
    refuse("base-results: holds the results of step 0, expected step 1", results[0], *results)
    (damaged / "confusion.npz").write_bytes(b"PK")
    refuse("confusion.npz: not readable as counts of paper .*; restore", results[0], damaged)
    for change, words in (
        ({"step": "1"}, 'metrics.json: step: expected a number of a step, got "1"'),
        ({"protocols": {}}, "metrics.json: protocols.paper: missing"),
        (
            {"protocols": {"paper": {**content["protocols"]["paper"], "all": 300}}},
            "protocols.paper: all: expected a pe",
        ),
    ):
        (damaged / "metrics.json").write_text(json.dumps({**content, **change}))
        refuse(words, results[0], damaged)
    (damaged / "metrics.json").write_text("{")
    refuse("metrics.json: not readable as JSON", results[0], damaged)
    shutil.rmtree(damaged)


def take_all_classes_at_once(dkd, result, tasks, place):
    """The upper bounds have one step with all classes; other methods have not."""
    whole = shutil.copytree(result, place / "whole")
    content = json.loads((whole / "metrics.json").read_text())
    (whole / "metrics.json").write_text(json.dumps({**content, "step": 0}))
    for method in ("joint", "joint-softmax"):
        dkd("report", whole, "--tasks", tasks, "--method", method, "--out", place / method)
    with pytest.raises(CommandError, match="step 0 has learned 6 classes"):
        dkd("report", whole, "--tasks", tasks, "--method", "dkd", "--out", place / "none")
