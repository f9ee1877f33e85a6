"""Every method on the data set shapes by the real stages, one after the other in this process."""

import csv
import json
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dkd.config import methods, read
from pipeline import plan as plans

PARAMS = {
    "data": {"shapes": {"size": 32, "train": 24, "val": 8}},
    "model": {"aspp_channels": 8},
    "train": {"batch": 4, "crop": 32},
    "base": {"epochs": 1},
    "increment": {"epochs": 1},
    "evaluate": {"crop": 32},
    "methods": {"dkd-m": {"memory": 5}},
    "runtime": {"device": "cpu"},
}


@pytest.mark.slow
def test_every_method_from_images_to_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = list(methods.options())
    runs = [{"dataset": "shapes", "scenario": "4-1", "method": names, "seed": 0}]
    Path("params.yaml").write_text(yaml.safe_dump({"runs": runs, **PARAMS}))
    plan = plans.build(read.load("params.yaml"), fresh=False)
    for node in plan.nodes.values():
        out, work = Path(node.folder), Path("work", node.key)
        out.mkdir(parents=True)
        work.mkdir(parents=True)
        inputs = {name: Path(source.path) for name, source in node.inputs.items()}
        own = {**plan.runtime, "work": work, "logs": Path("logs"), "name": node.rule}
        import_module(f"pipeline.stages.{node.rule}").run(node.params, own, inputs, out)
    [summary], [page] = plan.of("summary"), plan.of("page")
    groups = json.loads(Path(summary.folder, "groups.json").read_text())
    assert {name.rpartition("_")[2] for name in groups} == set(names)
    assert all(0 < group["all"]["mean"] <= 100 for group in groups.values())
    text = Path(page.folder, "index.html").read_text()
    assert all(name in text for name in names)
    for node in plan.of("increment"):
        with Path(node.folder, "train.csv").open() as file:
            assert float(list(csv.DictReader(file))[-1]["total"]) > 0
        step = json.loads(Path(node.folder, "step.json").read_text())
        assert step["model"].get("head", "sigmoid") == methods.head(node.params["method"])
