"""Real git, Snakemake and DVC in a repository of its own: the real workflow, with stand-ins for the science.

The stand-ins (standin/) are laid over a copy of the checkout; each piece of work adds a line to a trace.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COPIED = "Snakefile dvc.yaml .dvc .dvcignore .gitignore data/raw/.gitignore pipeline profiles src".split()
HIDDEN = ("GIT_", "DKD_", "DVC_", "PYTEST", "CUDA_")
PARAMS = {
    "runs": [{"dataset": "shapes", "scenario": [4, 1, 1], "setting": "overlap", "method": "dkd", "seed": 0}],
    "increment": {"lr": 0.001},
    "base": {"lr": 0.01},
    "evaluate": {"crop": 65},
    "report": {"decimals": 1},
}
DATA = ["data/made/shapes", "data/index/shapes", "data/tasks/shapes/overlap/4", "data/tasks/shapes/overlap/4+1+1"]
SUMMARY = ["report/page", "summary/report"]


def bases(*seeds):
    return [f"checkpoints/base/shapes/overlap/4/s{seed}" for seed in seeds]


def steps(*seeds, under="checkpoints/increment"):
    return [f"{under}/shapes/overlap/{sizes}/dkd-s{seed}" for sizes in ("4+1", "4+1+1") for seed in seeds]


def results(*seeds):
    return [f"results/shapes/overlap/4/s{seed}" for seed in seeds] + steps(*seeds, under="results")


def panels(*seeds):
    return [f"panels/shapes/overlap/4/s{seed}" for seed in seeds] + steps(*seeds, under="panels")


EVERYTHING = [*DATA, *bases(0), *steps(0), *results(0), *panels(0), *SUMMARY]


class Repository:
    """A repository with a workflow, and what people do in one."""

    def __init__(self, path):
        self.path, self.prefix = path, ()
        self.trace = path.with_name(f"{path.name}.trace")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)},
            "DKD_TRACE": str(self.trace),
            "DKD_CORES": "2",
            "DVC_SITE_CACHE_DIR": str(path.with_name("dvc-site")),
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        for who in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{who}_NAME": "A Person", f"GIT_{who}_EMAIL": "person@example.org"}

    def call(self, *command, expect=0, **env):
        """Run a command to its end; stdout and stderr as one text."""
        done = subprocess.run(
            [*self.prefix, *command],
            cwd=self.path,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode == 0) == (expect == 0), done.stdout
        return done.stdout

    def git(self, *arguments):
        return self.call("git", *arguments)

    def snakemake(self, *arguments, **options):
        return self.call(".venv/bin/snakemake", "--cores", "2", *arguments, **options)

    def dvc(self, *arguments, **options):
        return self.call(".venv/bin/dvc", *arguments, **options)

    def pipeline(self, *arguments, **options):
        return self.call(".venv/bin/python", "-m", "pipeline", *arguments, **options)

    def tool(self, name, **options):
        """All of the workflow, by either tool."""
        return self.snakemake(**options) if name == "snakemake" else self.dvc("repro", **options)

    def agrees(self):
        """Assert that both tools find nothing to do; DVC may have to record what Snakemake made first."""
        assert "Nothing to be done" in self.snakemake()
        self.dvc("repro")
        assert "Data and pipelines are up to date" in self.dvc("status")
        assert self.ran() == []

    def ran(self):
        """The places of the nodes that were worked on since last asked, sorted."""
        lines = self.trace.read_text().split() if self.trace.exists() else []
        self.trace.unlink(missing_ok=True)
        return sorted(lines)

    def params(self, **changes):
        """Write params.yaml: the ones that all tests start from, with some sections replaced."""
        (self.path / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}, sort_keys=False))

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    @contextmanager
    def start(self, *command, slow=None, seconds=60, **env):
        """Start a command in a session of its own; come back when it works on the node `slow`, for some `seconds`."""
        mark = self.trace.with_name(f"{self.trace.name}.slow")
        mark.unlink(missing_ok=True)
        with subprocess.Popen(
            command,
            cwd=self.path,
            env={**self.env, **env, **({"DKD_SLOW": slow, "DKD_SLEEP": str(seconds)} if slow else {})},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            if slow:
                process.worker = self._worker(mark)
            yield process

    def _worker(self, mark):
        for _ in range(600):
            if mark.exists() and (process := mark.read_text()):
                return int(process)
            time.sleep(0.1)
        raise AssertionError(f"nobody worked on it in a minute: {mark}")

    def stop(self, command, node, number):
        """Start a command, send it a signal (it and all of its processes) when it works on `node`; its output."""
        with self.start(*command, slow=node) as process:
            os.killpg(process.pid, number)
            if number == signal.SIGKILL:
                # Where it ran in a session of its own, it is still there; else it may be gone by now.
                with suppress(ProcessLookupError):
                    os.kill(process.worker, number)
            output = process.communicate(timeout=60)[0]
            assert process.returncode != 0
            return output


def lay_out(path):
    path.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__", "cache", "tmp"))
        elif (ROOT / name).exists():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    shutil.copytree(Path(__file__).with_name("standin"), path, dirs_exist_ok=True)
    (path / ".venv").symlink_to(sys.prefix)
    repository = Repository(path)
    repository.params()
    repository.git("init", "-q")
    (path / ".git" / "info" / "exclude").write_text(".venv\ndvc_plots\n")
    repository.commit("begin")
    return repository


@pytest.fixture(scope="session")
def _begun(tmp_path_factory):
    return lay_out(tmp_path_factory.mktemp("begun") / "repository")


@pytest.fixture(scope="session")
def _finished(tmp_path_factory, _begun):
    """Everything made by DVC from a shell that knows of no environment, and committed."""
    repository = copy(_begun, tmp_path_factory.mktemp("finished") / "repository")
    repository.output = repository.dvc("repro", PATH="/usr/local/bin:/usr/bin:/bin")
    repository.worked = repository.ran()
    repository.commit("run")
    return repository


def copy(repository, path):
    shutil.copytree(repository.path, path, symlinks=True)
    return Repository(path)


@pytest.fixture
def begun(_begun, tmp_path):
    """A repository where nothing ran."""
    return copy(_begun, tmp_path / "repository")


@pytest.fixture
def finished(_finished, tmp_path):
    """A repository where everything ran and is committed."""
    repository = copy(_finished, tmp_path / "repository")
    repository.output, repository.worked = _finished.output, _finished.worked
    return repository
