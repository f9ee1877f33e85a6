"""What dvc.yaml has `dvc plots` draw, from real tables and DVC's own renderer."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from dvc_render.vega import VegaRenderer

ROOT = Path(__file__).parents[3]
PLOTS = [entry for entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] if isinstance(entry, dict)]


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: next(iter(plot)))
def test_plots_draw_columns_that_are_there(plot, inputs, written):
    [(title, facts)] = plot.items()
    [(name, column)] = facts["y"].items()
    place = next(path for top in (written, inputs[1]["summary"]) if (path := top / Path(name).name).is_file())
    with place.open() as file:
        rows = [{**row, "rev": "workspace"} for row in csv.DictReader(file)]
    given = {"x": facts["x"], "y": column, "template": facts["template"], "template_dir": str(ROOT / ".dvc" / "plots")}
    spec = VegaRenderer(rows, name, title=title, **given).get_filled_template()
    assert spec["title"] == title and spec["data"]["values"] == rows and "<DVC" not in json.dumps(spec)
    text = json.dumps({key: value for key, value in spec.items() if key != "data"})
    fields = re.findall(r'"field": "([^"]+)"|datum\.(\w+)', text)
    made = {"rev", *re.findall(r'"as": "([^"]+)"', text)}
    assert {facts["x"], column} <= rows[0].keys()
    assert {"".join(field) for field in fields} <= rows[0].keys() | made


def test_every_template_is_used():
    used = {facts["template"] for plot in PLOTS for facts in plot.values()}
    assert used == {path.stem for path in (ROOT / ".dvc" / "plots").iterdir()}
