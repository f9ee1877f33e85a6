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
NOTHING = "Nothing to be done"
SNAKEMAKE = (".venv/bin/snakemake", "--cores", "2")
DVC = (".venv/bin/dvc", "repro")
# The superuser without its privileges is like any user before a read-only file.
UNPRIVILEGED = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")


def bases(*seeds):
    return [f"checkpoints/base/shapes/overlap/4/s{seed}" for seed in seeds]


def steps(*seeds, under="checkpoints/increment"):
    return [f"{under}/shapes/overlap/{sizes}/dkd-s{seed}" for sizes in ("4+1", "4+1+1") for seed in seeds]


def results(*seeds):
    return [f"results/shapes/overlap/4/s{seed}" for seed in seeds] + steps(*seeds, under="results")


def panels(*seeds):
    return [f"panels/shapes/overlap/4/s{seed}" for seed in seeds] + steps(*seeds, under="panels")


EVERYTHING = [*DATA, *bases(0), *steps(0), *results(0), *panels(0), *SUMMARY]
LATER = [*steps(0), *results(0)[1:], *panels(0)[1:], *SUMMARY]
"""What is made from the step after the base, or after that."""
FROM_BASE = [*bases(0), *steps(0), *results(0), *panels(0), *SUMMARY]


# What a script has started in the background ignores SIGINT, and hands that on.
HEED = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
HEEDING = (sys.executable, "-c", HEED)


class Repository:
    """A repository with a workflow, and what people do in one."""

    def __init__(self, path):
        self.path, self.prefix, self.started = path, (), 0
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
        return self.call(*SNAKEMAKE, *arguments, **options)

    def dvc(self, *arguments, **options):
        return self.call(".venv/bin/dvc", *arguments, **options)

    def pipeline(self, *arguments, **options):
        return self.call(".venv/bin/python", "-m", "pipeline", *arguments, **options)

    def tool(self, name, **options):
        """All of the workflow, by either tool."""
        return self.call(*(SNAKEMAKE if name == "snakemake" else DVC), **options)

    def agrees(self):
        """Assert that both tools find nothing to do; DVC may have to record what Snakemake made first."""
        assert NOTHING in self.snakemake()
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

    def clone(self, path):
        """Clone what is committed; results are left to DVC."""
        self.git("clone", "-q", str(self.path), str(path))
        (path / ".venv").symlink_to(sys.prefix)
        return Repository(path)

    @contextmanager
    def start(self, *command, held=None, **env):
        """Start a command in a session of its own; come back when it works on the node `held`, which it holds up."""
        if held:
            self.go.unlink(missing_ok=True)
            self.mark.unlink(missing_ok=True)
            env |= {"DKD_HELD": held}
        self.started += 1
        text = self.path.with_name(f"{self.path.name}.{self.started}.out")
        with text.open("w") as out:
            process = subprocess.Popen(
                [*self.prefix, *HEEDING, *command],
                cwd=self.path,
                env={**self.env, **env},
                start_new_session=True,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        run = Started(process, text)
        try:
            if held:
                until(lambda: self.mark.exists() and self.mark.read_text(), text.read_text)
                run.worker = int(self.mark.read_text())
            yield run
        finally:
            self.release()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @property
    def go(self):
        return self.trace.with_name(f"{self.trace.name}.go")

    @property
    def mark(self):
        return self.trace.with_name(f"{self.trace.name}.held")

    def release(self):
        """Let go on what is held up."""
        self.go.touch()

    def folder(self, place):
        """The one folder at a place."""
        [folder] = self.path.glob(f"{place}-{'?' * 12}")
        return folder

    def edit(self, name, old, new):
        """Replace words in a file, once."""
        text = (self.path / name).read_text()
        assert text.count(old) == 1
        (self.path / name).write_text(text.replace(old, new))


class Started:
    """A command at work."""

    def __init__(self, process, text):
        self.process, self.text = process, text

    def output(self):
        return self.text.read_text()

    def says(self, words):
        """Wait until it has printed some words."""
        until(lambda: words in self.output(), self.output)

    def send(self, number, group=False):
        """Send a signal to its main process alone, or to all of its session, as a terminal does."""
        if not group:
            self.process.send_signal(number)
            return
        os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            # Where it ran in a session of its own, it is still there; else it may be gone by now.
            with suppress(ProcessLookupError):
                os.kill(self.worker, number)

    def end(self, expect=0):
        """Wait for its end; what it printed."""
        until(lambda: self.process.poll() is not None, self.output)
        assert (self.process.returncode == 0) == (expect == 0), self.output()
        return self.output()


def until(condition, otherwise):
    """Wait for a condition; fail after two minutes."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)


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
    """Everything made by Snakemake, recorded by DVC, and committed."""
    repository = copy(_begun, tmp_path_factory.mktemp("finished") / "repository")
    repository.output = repository.snakemake()
    repository.worked = repository.ran()
    repository.dvc("commit", "--force")
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


@pytest.fixture
def unprivileged():
    """What to put before a command so that files without write permission are read-only to it; skips where none is."""
    if os.geteuid():
        return ()
    if shutil.which(UNPRIVILEGED[0]) is None or subprocess.run([*UNPRIVILEGED, "true"]).returncode:
        pytest.skip("the tests run as superuser, and setpriv cannot take its privileges away here")
    return UNPRIVILEGED
