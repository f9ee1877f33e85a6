"""A run of the workflow by Snakemake: which files it asks for, and what is done where it starts, succeeds or fails.

Knows Snakemake's `workflow` object; nothing of how a node is made. Until `start`, nothing is written.
"""

import atexit
import contextlib
import logging
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import psutil
from snakemake.jobs import Job

from dkd.errors import InputError, one_line
from pipeline import ROOT, dvc, gpus, plan_file, publish, raw_digest, states, store
from pipeline import plan as plans
from pipeline.plan import Node
from pipeline.rules import RULES, STAGES

JOB, DVC_STAGE = "pipeline.job", "DVC_STAGE"
T = TypeVar("T")


class Run:
    """What the Snakefile asks, of the plan of params.yaml or, in a job on another machine, of its run.

    Whatever the user can correct ends the process with one line.
    """

    def __init__(self, workflow: Any, config: dict[str, Any]):
        self.workflow, self.config, self.main = workflow, config, workflow.is_main_process
        self._lock, self._seen = None, store.holder()
        self.plan = _or_exit(self._build if self.main else lambda: plan_file.read().plan)
        self.devices = gpus.found(self.plan.runtime["device"])
        if self.devices and "gpu" not in workflow.global_resources:
            # As many jobs at once as have GPUs of their own; --resources says otherwise.
            workflow.global_resources["gpu"] = len(self.devices)
        self.environment = _plain(f"{ROOT}/pipeline/environment.yaml")
        # Snakemake refuses to make anew what is write-protected, as links into DVC's cache are. Nodes are replaced by a
        # rename, which needs no right to write to their files.
        Job.check_protected_output = _allow

    def _build(self) -> plans.Plan:
        # Jobs are started without it.
        from dkd.config import read

        plan = plans.build(read.load())
        if DVC_STAGE in os.environ:
            dvc.check_deps(plan)
        return plan

    @cached_property
    def _asked(self) -> plan_file.Run:
        """How the nodes stand, once Snakemake knows its targets."""
        if not self.main:
            return _or_exit(plan_file.read)
        for name in ("save_iocache", "drop_iocache"):
            # Snakemake's record of file times, which a dry run leaves for the next run: not on a read-only mount.
            setattr(self.workflow.persistence, name, _unless_read_only(getattr(self.workflow.persistence, name)))
        settings, nodes = self.workflow.dag_settings, self.plan.nodes
        forced = {*settings.forcerun, *(settings.targets if settings.forcetargets else ())}
        redo = [name for name, node in nodes.items() if settings.forceall or {node.rule, node.stamp} & forced]
        # Under DVC, which would record it, damage is looked for byte by byte.
        verify = STAGES.get(os.environ.get(DVC_STAGE, "").rpartition(":")[2], [])
        everything = not settings.targets or "all" in settings.targets
        found = states.find(self.plan, everything, redo, verify)
        return plan_file.Run(self.plan, {name: state.name for name, state in found.items()}, redo, verify)

    def stamps(self, rules: Iterable[str]) -> list[str]:
        """The last files of all nodes of some rules."""
        return [node.stamp for node in self.plan.of(*rules)]

    def again(self, rules: Iterable[str]) -> list[str]:
        """What has those nodes of some rules made that are there but not good; and has outdated copies published."""
        found = [file for node in self.plan.of(*rules) for file in self._again(node)]
        if "page" in rules and not found and publish.outdated(self.plan):
            found = [self._ask_again(self.plan.of("page")[0])]
        return found

    def inputs(self, folder: str) -> list[str]:
        """The last files of the nodes that a node is made from; none where it is good, so that none is made for it."""
        return [node.stamp for node in self._needed(folder)]

    def inputs_again(self, folder: str) -> list[str]:
        """What has a node, and those that it is made from, made where they are there but not good."""
        return [file for node in [self.plan.node(folder), *self._needed(folder)] for file in self._again(node)]

    def _needed(self, folder: str) -> list[Node]:
        node = _or_exit(lambda: self.plan.node(folder))
        return [] if self._asked.states[folder] in ("present", "archived") else self.plan.inputs(node)

    def _again(self, node: Node) -> list[str]:
        bad = self._asked.states[node.folder] in ("damaged", "stale", "open") and Path(node.stamp).exists()
        return [self._ask_again(node)] if bad else []

    def _ask_again(self, node: Node) -> str:
        return f"{store.AGAIN}/{self._asked.name}/{node.key}"

    def processes(self, rule: str) -> int:
        """Processes that a job of a rule has."""
        return self.plan.runtime["processes"] if RULES[rule].shared else 1

    def threads(self, rule: str) -> int:
        """Cores that a job of a rule takes."""
        return self.plan.runtime["threads"] * self.processes(rule)

    def gpus(self, rule: str) -> int:
        """GPUs that a job of a rule takes."""
        return self.processes(rule) if self.devices and RULES[rule].gpu else 0

    def command(self) -> str:
        """The command line of a job: the interpreter of this process, or that of the environment that is deployed."""
        deployed = bool(self.workflow.deployment_settings.deployment_method)
        line = f"{'python' if deployed else shlex.quote(sys.executable)} -m {JOB}"
        if Path.cwd() != ROOT:
            line = f"cd {shlex.quote(str(ROOT))} && {line} --directory {shlex.quote(str(Path.cwd()))}"
        return f"{_plain(line)} {{output.provenance:q}}"

    def start(self) -> None:
        """Take the lock and leave the plan for the jobs."""
        _or_exit(self._start)
        # Said of each output of a job that fails; there is nothing to restore, as nodes are renamed into place.
        logging.getLogger("snakemake.logging").addFilter(lambda line: "no backup found" not in line.getMessage())
        for number in (signal.SIGINT, signal.SIGTERM):
            _pass_on(number)

    def _start(self) -> None:
        self._lock, before = store.lock(wait=not self.config.get("no_wait"))
        if before != self._seen:
            # Another run has been at work since this one looked: what there is to do can be something else by now.
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        store.lay_out()
        store.sweep()
        shutil.rmtree(store.FAILED, ignore_errors=True)
        raw_digest.save()
        plan_file.write(self._asked)
        if hint := dvc.recorded(self.plan):
            print(f"dkd: {hint}", file=sys.stderr)

    def succeed(self) -> None:
        """Publish what is new, and archive what no run asks for."""
        if publish.publish(self.plan):
            print(Path(self.plan.of("summary")[0].folder, "table.txt").read_text(encoding="utf-8"))
            print(f"tables and figures: {publish.METRICS}/, page: {publish.REPORT}/{publish.PAGE}")
        store.prune(self.plan)

    def fail(self) -> None:
        """Show on the page what failed, and say it once more as the last lines of all."""
        if lines := list(dict.fromkeys(publish.failures(self.plan).values())):
            try:
                publish.show_failed(self.plan)
                lines.insert(0, f"page of what there is, with what failed: {publish.REPORT}/{publish.PAGE}")
            except Exception as error:
                # Whatever it is, the reasons of the run matter more.
                lines.insert(0, f"no page could be made of what there is: {error}")
            atexit.register(print, "\n".join(lines), file=sys.stderr, flush=True)


async def _allow(job: Job) -> None:
    pass


def _unless_read_only(call: Callable[[], None]) -> Callable[[], None]:
    def tried() -> None:
        with contextlib.suppress(OSError):
            call()

    return tried


def _or_exit(call: Callable[[], T]) -> T:
    try:
        return call()
    except (InputError, OSError) as error:
        sys.exit(one_line(error, None))


def _plain(text: str) -> str:
    """Text that Snakemake formats, with its braces standing for themselves."""
    return text.replace("{", "{{").replace("}", "}}")


def _pass_on(number: int) -> None:
    """Have a signal end the jobs as well, which Snakemake would wait for."""
    before: Any = signal.getsignal(number)

    def handle(number: int, frame: Any) -> None:
        threading.Thread(target=_end_jobs, daemon=True).start()
        before(number, frame)

    if callable(before):
        signal.signal(number, handle)


def _end_jobs() -> None:
    """Ask every job of this process to stop, also those that are only just being started."""
    while True:
        jobs = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                # Not the processes that a job has forked, which it ends itself.
                if JOB in process.cmdline() and process.parent() not in jobs:
                    jobs.append(process)
                    process.terminate()
        time.sleep(0.5)
