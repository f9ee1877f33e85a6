"""Real Snakemake and the real science in a copy of the checkout, on two nodes of a real Slurm."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress

import psutil
import pytest
import yaml

from pipeline import store
from tests.cluster.slurm import Slurm, until
from tests.conftest import ROOT

COPIED = "Snakefile dvc.yaml .dvc pipeline profiles src".split()
HIDDEN = ("GIT_", "DKD_", "DVC_", "PYTEST", "CUDA_", "SLURM")
# The executor asks after 1, 11, 21, ... seconds, which cannot be set; here, each second. And what a script has started
# in the background ignores SIGINT.
OFTEN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
main()
"""
# Jobs of the tests are small and last seconds, and this Slurm keeps no accounts.
CLUSTER = "--profile profiles/slurm --slurm-status-command squeue".split()
CLUSTER += "--slurm-init-seconds-before-status-checks 1 --default-resources mem_mb=500 runtime=30".split()
TINY = {
    "runs": [{"dataset": "shapes", "scenario": [4, 1, 1], "method": "dkd", "seed": 0}],
    "data": {"shapes": {"size": 32, "train": 24, "val": 8}},
    "base": {"epochs": 40},
    "increment": {"epochs": 2},
}


class Study:
    """A copy of the checkout with params of its own, and what people do there."""

    def __init__(self, path, params):
        self.path, self.started = path, 0
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        path.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__", "cache", "tmp"))
            else:
                shutil.copy2(ROOT / name, path / name)
        (path / "params.yaml").write_text(yaml.safe_dump(params))

    def params(self, **changes):
        """Replace some sections of params.yaml."""
        file = self.path / "params.yaml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))

    @contextmanager
    def start(self, *arguments):
        """Snakemake in a session of its own."""
        self.started += 1
        text = self.path.with_name(f"{self.path.name}.{self.started}.out")
        with text.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", OFTEN, *arguments],
                cwd=self.path,
                env=self.env,
                start_new_session=True,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Started(process, text)
        finally:
            if process.poll() is None:
                # Ends its jobs as well.
                process.terminate()
                process.wait()

    def local(self, *arguments, expect=0):
        """A run on this machine to its end; what it printed."""
        with self.start("--cores", "2", *arguments) as run:
            return run.end(expect)

    def slurm(self, *arguments, expect=0):
        """A run on the cluster to its end; what it printed."""
        with self.start(*arguments, *CLUSTER) as run:
            return run.end(expect)

    def records(self):
        """provenance.json of each node, by folder."""
        found = self.path.glob("*/**/provenance.json")
        return {str(path.parent.relative_to(self.path)): json.loads(path.read_text()) for path in found}

    def digests(self):
        """Digest of all that a node holds, by folder; that of the page left out, which shows times."""
        return {folder: record["digest"] for folder, record in self.records().items() if record["rule"] != "page"}

    def record(self, place):
        """provenance.json of the one node at a place."""
        [path] = self.path.glob(f"{place}-{'?' * 12}/provenance.json")
        return json.loads(path.read_text())

    def log(self, place):
        """What the jobs of a node have logged so far."""
        return "".join(path.read_text() for path in self.path.glob(f"logs/{place}-*.log"))

    def states(self):
        """The saved states of unfinished trainings."""
        return list((self.path / store.WORK).glob("*/state.pt"))

    def working(self):
        """The processes that are at work for this study, wherever."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.path) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


class Started:
    """A run at work."""

    def __init__(self, process, text):
        self.process, self.text = process, text

    def output(self):
        return self.text.read_text()

    def ended(self):
        return self.process.poll() is not None

    def end(self, expect=0):
        """Wait for its end; what it printed."""
        until(self.ended, self.output)
        assert (self.process.returncode == 0) == (expect == 0), self.output()
        return self.output()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    with Slurm(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture(scope="session")
def undisturbed(slurm, tmp_path_factory):
    """A base that was trained on this machine; after `slurm`, whose absence would delay each start of Snakemake."""
    study = Study(tmp_path_factory.mktemp("undisturbed") / "study", TINY)
    study.local("base_all")
    return study


@pytest.fixture
def begin(slurm, tmp_path):
    """Makes studies; in the end nothing of theirs may be left, in the queue or at work."""
    studies = []

    def make(name, params):
        studies.append(Study(tmp_path / name, params))
        return studies[-1]

    yield make
    try:
        until(lambda: not slurm.jobs(), lambda: f"left in the queue:\n{slurm.report()}")
        for study in studies:
            until(lambda study=study: not study.working(), lambda study=study: f"left at work: {study.working()}")
    finally:
        for process in [each for study in studies for each in study.working()]:
            process.kill()
        slurm.mend()
