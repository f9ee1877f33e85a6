"""A plan whose stages are stand-ins, in a folder of its own."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from types import ModuleType

import pytest
import yaml

from dkd.config import read
from pipeline import ROOT, job, provenance, raw_digest
from pipeline import plan as plans
from pipeline.rules import RULES

# Asks git, which takes longer than the rest of a job whose stage is a stand-in.
surroundings = cache(provenance.surroundings)


SHAPES = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}


def lay_pictures(root, *classes):
    """A data set in the folder format; no pictures, which no plan looks at."""
    for part in ("images", "masks", "splits"):
        (root / part).mkdir(parents=True)
        (root / part / "a").write_text(part)
    (root / "classes.txt").write_text("\n".join(["background", *classes, ""]))
    return root


class Workplace:
    """What a test does to a plan: change its runs, make its nodes, stand in for a stage."""

    def __init__(self, path, monkeypatch):
        self.path, self.monkeypatch = path, monkeypatch
        self.made = []
        self.params(runs=[SHAPES])
        for rule in RULES:
            self.stage(rule, self._write(rule))

    def params(self, **content):
        (self.path / "params.yaml").write_text(yaml.safe_dump(content))
        self.plan = plans.build(read.load(self.path / "params.yaml"), fresh=False)

    def edit(self, name, old, new):
        """Replace words in a module of a copy of the project, which is the code from now on; plan again."""
        copy = self.path / "checkout"
        if not copy.exists():
            for top in ("src", "pipeline"):
                shutil.copytree(ROOT / top, copy / top, ignore=shutil.ignore_patterns("__pycache__"))
            for module in ("plan", "job"):
                self.monkeypatch.setattr(f"pipeline.{module}.ROOT", copy)
        path = copy / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        self.plan = plans.build(read.load(self.path / "params.yaml"), fresh=False)

    def stage(self, rule, run):
        module = ModuleType(f"pipeline.stages.{rule}")
        module.run = run
        self.monkeypatch.setitem(sys.modules, module.__name__, module)

    def write(self, rule, text):
        """From now on the stage of `rule` writes `text` into all of its files."""
        self.stage(rule, self._write(rule, text))

    def _write(self, rule, text=None):
        def run(params, runtime, inputs, out):
            self.made.append(out.name.replace("__", "/"))
            for name in RULES[rule].files:
                (out / name).parent.mkdir(exist_ok=True)
                (out / name).write_text(text or f"{name} of {out.name}")

        return run

    def folder(self, place):
        """The folder of the planned node whose place ends so."""
        [folder] = [folder for folder, node in self.plan.nodes.items() if node.place.endswith(place)]
        return folder

    def asked(self, redo=(), verify=()):
        """The plan of a run that is asked for this."""
        return replace(self.plan, redo=list(redo), verify=list(verify))

    def make(self, *folders, **options):
        """Make some nodes of the plan, all unless told; return those that were worked on."""
        self.made.clear()
        for folder in folders or self.plan.nodes:
            job.make(self.asked(**options), folder)
        return self.made


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(provenance, "surroundings", surroundings)
    # No power fails while tests run.
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return Workplace(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def _raw_data_unread(monkeypatch):
    monkeypatch.setattr(raw_digest, "_unsaved", {})


@pytest.fixture
def start():
    """Start a program that imports this checkout, in the working directory; it is killed when the test ends."""
    started = []

    def start(code, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
