"""A run of the workflow by Snakemake: which files it requests, and what is done when it starts, ends or is stopped.

Knows Snakemake's `workflow` object; nothing of how a node is made. Until `start`, nothing is written.
"""

import atexit
import logging
import math
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from snakemake.jobs import Job
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

from dkd.config import read
from dkd.errors import InputError, one_line
from pipeline import ROOT, dvc, locks, publish, raw_digest, status, store
from pipeline import plan as plans
from pipeline.rules import RULES, STAGES

NODES = "profiles/slurm/nodes.py"
"""Starts the processes of a job on several nodes, where the profile asks for them."""
AUTO = "runtime.device: auto asks the scheduler for no GPU, and jobs take what their nodes have; write cuda or cpu"


class Run:
    """What the Snakefile asks, of the plan of params.yaml or, in a job on another machine, of its run."""

    def __init__(self, workflow: Any, config: dict[str, Any]):
        self.workflow, self.config = workflow, config
        self._lock, self._seen = None, locks.holder()
        self.plan = _or_exit(self._build if workflow.is_main_process else lambda: plans.load(""))
        self.devices = locks.gpus(self.plan.runtime["device"])
        if self.plan.requests:
            # What there is on the machine that submits says nothing.
            self.devices = []
        elif self.devices and "gpu" not in workflow.global_resources:
            # As many jobs at once as have GPUs of their own; --resources says otherwise.
            workflow.global_resources["gpu"] = len(self.devices)
        self.environment = _plain(f"{ROOT}/pipeline/environment.yaml")
        # Snakemake refuses to make again what is write-protected, as links into DVC's cache are. A rename may do so.
        # Nor does it delete the log of a try before the next one.
        Job.check_protected_output = Job.remove_existing_output = _allow
        RemoteExecutor.cancel = cancel_all

    def _build(self) -> plans.Plan:
        verify = bool(self.config.get("verify"))
        plan = plans.build(read.load("params.yaml"), fresh=verify)
        if stage := os.environ.get("DVC_STAGE"):
            dvc.check_deps(plan)
            # It would record damage, which is therefore looked for byte by byte.
            plan.verify = STAGES.get(stage.rpartition(":")[2], [])
        plan.verify = list(RULES) if verify else plan.verify
        settings = self.workflow.resource_settings
        if settings.nodes is not None:
            # Jobs go to a scheduler. What the profile allows by default is the most that its partition does.
            given = (settings.default_resources or {}).get("runtime")
            longest = math.inf if given is None or given.is_evaluable() else given.value
            plan.requests = status.requests(plan, longest)
            if "nodes" in self.config:
                over = runpy.run_path(str(ROOT / NODES))["asked"](plan.runtime, int(self.config["nodes"]))
                for rule in filter(lambda rule: RULES[rule].shared, RULES):
                    plan.requests[rule] |= {**over, "mpi": NODES}
        return plan

    def resources(self, rule: str) -> dict[str, Any]:
        """What a job of a rule takes: of the GPUs of this machine, or of what a scheduler hands out."""
        here = {"gpu": self.plan.processes(rule) if self.devices and RULES[rule].gpu else 0}
        return self.plan.requests.get(rule, here)

    @cached_property
    def _states(self) -> dict[str, status.State]:
        """How the nodes stand, once Snakemake knows its targets; it is told which nodes to make that are there."""
        settings, plan = self.workflow.dag_settings, self.plan
        forced = {*settings.forcerun, *(settings.targets if settings.forcetargets else ())}
        plan.redo = [node.folder for node in plan.of() if settings.forceall or {node.rule, node.stamp} & forced]
        found = status.states(plan, everything=not settings.targets or "all" in settings.targets)
        again = [node.stamp for node in plan.of() if found[node.folder].name in ("damaged", "stale", "open")]
        if publish.outdated(plan):
            # Nothing is made, but there is a run, which publishes in the end.
            again += [node.stamp for node in plan.of("page")]
        self.workflow.dag.forcefiles.update(again)
        # Its record of file times is not needed; a dry run would write it, even on a read-only mount.
        self.workflow.persistence.iocache_path = self.workflow.snakemake_tmp_dir
        return found

    def inputs(self, folder: str) -> list[str]:
        """The last files of what a node is made from; none where it is good, nor in a job that another machine does."""
        if not self.workflow.is_main_process:
            return []
        node = _or_exit(lambda: self.plan.node(folder))
        return [] if self._states[folder].name in status.GOOD else [each.stamp for each in self.plan.inputs(node)]

    def command(self) -> str:
        """The command line of a job: the interpreter of this process, or that of the environment that is deployed."""
        deployed = bool(self.workflow.deployment_settings.deployment_method)
        words = ["python" if deployed else sys.executable, "-m", "pipeline.job", str(Path.cwd())]
        # In place of the shell, which a scheduler's SIGTERM would end at once; what it left behind would be killed.
        return f"cd {_plain(shlex.quote(str(ROOT)))} && exec {_plain(shlex.join(words))} {{output.provenance:q}}"

    def start(self) -> None:
        """Take the lock and leave the plan for the jobs."""
        _or_exit(self._start)
        # Said of each output of a job that fails; there is nothing to restore, as nodes are renamed into place.
        logging.getLogger("snakemake.logging").addFilter(lambda line: "no backup found" not in line.getMessage())
        for number in (signal.SIGINT, signal.SIGTERM):
            _pass_on(number, queued=bool(self.plan.requests))

    def _start(self) -> None:
        self._lock, before = locks.lock(wait=not self.config.get("no_wait"))
        if before != self._seen:
            # Another run was active since this one looked, so there may be other things to do.
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        store.prepare()
        shutil.rmtree(store.FAILED, ignore_errors=True)
        # What only one scheduler needs lies beside its profile.
        watch = ROOT / "profiles" / self.workflow.executor_plugin.name / "watch.py"
        if watch.exists():
            subprocess.Popen([sys.executable, watch, str(os.getpid())])
        raw_digest.save()
        self.plan.save()
        auto = self.plan.requests and self.plan.runtime["device"] == "auto"
        for hint in filter(None, (dvc.recorded(self.plan), AUTO if auto else None)):
            print(f"dkd: {hint}", file=sys.stderr)

    def succeed(self) -> None:
        """Publish what is new, and archive what no run needs."""
        if publish.publish(self.plan):
            print(Path(self.plan.of("summary")[0].folder, "table.txt").read_text(encoding="utf-8"))
            print(f"tables and figures: {publish.METRICS}/, page: {publish.REPORT}/{publish.PAGE}")
        store.prune(self.plan)

    def fail(self) -> None:
        """Show on the page what failed, and say it once more as the last lines of all."""
        if lines := dict.fromkeys(publish.failures(self.plan).values()):
            page = f"page of what there is, with what failed: {publish.REPORT}/{publish.PAGE}"
            try:
                publish.show_failed(self.plan)
            except Exception as error:
                # Whatever it is, the reasons of the run matter more.
                page = f"no page could be made of what there is: {error}"
            atexit.register(print, page, *lines, sep="\n", file=sys.stderr, flush=True)


async def _allow(job: Job) -> None:
    pass


def cancel_all(executor: RemoteExecutor) -> None:
    """Cancel all jobs of a scheduler, as Snakemake does, but also those that it is asking after at that moment.

    Meanwhile they are not in its list; and some executors can't cancel an empty one.
    """
    with executor.lock:
        known = list(executor.active_jobs)
    if known:
        executor.cancel_jobs(known)
    # Waits for the answer, and until the last job is submitted.
    executor.shutdown()
    if others := [job for job in executor.active_jobs if job not in known]:
        executor.cancel_jobs(others)


def _or_exit(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (InputError, OSError) as error:
        sys.exit(one_line(error, None))


def _plain(text: str) -> str:
    """Text that Snakemake formats, with its braces standing for themselves."""
    return text.replace("{", "{{").replace("}", "}}")


def _pass_on(number: int, queued: bool) -> None:
    """Have a signal end the jobs as well, which Snakemake would wait for; `queued`: jobs may wait for a scheduler."""
    before: Any = signal.getsignal(number)
    if not callable(before):
        return
    if queued:
        # At SIGTERM, Snakemake would wait until the last of them has begun and ended.
        before = signal.default_int_handler

    def handle(number: int, frame: Any) -> None:
        locks.sign(None)
        before(number, frame)

    signal.signal(number, handle)
