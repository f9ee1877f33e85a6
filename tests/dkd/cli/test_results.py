"""From images to a table, one command after the other."""

import json

from tests.dkd.command import SETTINGS

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
    # The same from the checkpoint and the images alone, by the preset of the checkpoint's data set.
    dkd("evaluate", later, *files[:2], "--out", tmp_path / "alone", *SETTINGS)
    assert capsys.readouterr().out.startswith(f"paper: all {last['all']:.2f}, base ")
    assert json.loads((tmp_path / "alone" / "metrics.json").read_text())["protocols"]["paper"] == last
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
