"""A plan whose stages are stand-ins, in a folder of its own."""

import shutil
import sys
from types import ModuleType

import pytest
import yaml

from dkd import config
from pipeline import ROOT, fingerprint
from pipeline import node as nodes
from pipeline import plan as plans

WRITES = {
    "draw": ("classes.txt", "splits/train.txt"),
    "index": ("index.csv", "index.json"),
    "split": ("tasks.json",),
    "base": ("model.safetensors", "step.json", "train.csv"),
    "increment": ("model.safetensors", "step.json", "train.csv"),
    "memory": ("memory.json",),
    "evaluate": ("metrics.json", "confusion.npz"),
    "panels": ("panels.json", "sheet.png"),
    "summary": (
        *("summary.json", "groups.json", "table.txt"),
        *("steps.csv", "classes.csv", "groups.csv", "differences.csv"),
    ),
    "page": (
        "index.html",
        "miou.png",
        "classes.png",
        "forgetting.png",
        "confusion.png",
        "training.png",
        "drift.png",
        "forgetting.csv",
        "confusion.csv",
        "training.csv",
        "drift.csv",
        "cost.csv",
    ),
}


class Workplace:
    """What a test does to a plan: change its runs, make its nodes, stand in for a stage."""

    def __init__(self, path, monkeypatch):
        self.path, self.monkeypatch = path, monkeypatch
        self.made = []
        self.params(runs=[{"dataset": "shapes", "scenario": "4-1", "method": "dkd"}])
        for rule in WRITES:
            self.stage(rule, self._write(rule))

    def params(self, **content):
        (self.path / "params.yaml").write_text(yaml.safe_dump(content))
        self.plan = plans.build(config.load(self.path / "params.yaml"))

    def edit(self, name, old, new):
        """Replace words in a module of a copy of the project, which is the code from now on; plan again."""
        copy = self.path / "checkout"
        if not copy.exists():
            for top in ("src", "pipeline"):
                shutil.copytree(ROOT / top, copy / top, ignore=shutil.ignore_patterns("__pycache__"))
            self.monkeypatch.setattr(fingerprint.Code.__init__, "__defaults__", (copy,))
        path = copy / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        self.plan = plans.build(config.load(self.path / "params.yaml"))

    def stage(self, rule, run):
        module = ModuleType(f"pipeline.stages.{rule}")
        module.run = run
        self.monkeypatch.setitem(sys.modules, module.__name__, module)

    def _write(self, rule):
        def run(params, runtime, inputs, out):
            self.made.append(out.name.replace("__", "/"))
            for name in WRITES[rule]:
                (out / name).parent.mkdir(exist_ok=True)
                (out / name).write_text(f"{name} of {out.name}")

        return run

    def folder(self, place):
        """The folder of the planned node whose place ends so."""
        [folder] = [folder for folder, node in self.plan.nodes.items() if node.place.endswith(place)]
        return folder

    def make(self, *folders):
        """Make some nodes of the plan, all unless told; return those that were missing."""
        self.made.clear()
        for folder in folders or self.plan.nodes:
            nodes.make(self.plan, folder, list(WRITES[self.plan.node(folder).rule]))
        return self.made


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plans.ENV, "")
    return Workplace(tmp_path, monkeypatch)
