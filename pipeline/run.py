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
from typing import Any

import psutil
from snakemake.jobs import Job

from dkd.errors import InputError, one_line
from pipeline import ROOT, check_dvc_deps, gpus, plan_file, publish, raw_digest, states, status, store
from pipeline import plan as plans
from pipeline.plan import STAMP, Node
from pipeline.rules import RULES, STAGES

AGAIN = ".dkd/again"
DVC_STAGE = "DVC_STAGE"
JOB = "pipeline.job"


class Run:
    """What the Snakefile asks, of the plan of params.yaml or, in a job on another machine, of its run.

    Whatever the user can correct ends the process with one line.
    """

    def __init__(self, workflow: Any, config: dict[str, Any]):
        self.workflow, self.config = workflow, config
        # Paths of rules are formatted: braces in them stand for themselves.
        self.environment = f"{ROOT}/pipeline/environment.yaml".replace("{", "{{").replace("}", "}}")
        self._lock: Any = None
        try:
            self._frozen = None if workflow.is_main_process else plan_file.read()
            self.plan = self._frozen.plan if self._frozen else self._build()
            self.devices = gpus.found(self.plan.runtime["device"])
        except (InputError, OSError) as error:
            sys.exit(one_line(error))
        # Snakemake refuses to make anew what is write-protected, as links into DVC's cache are. Nodes are replaced by a
        # rename, which needs no right to write to their files.
        Job.check_protected_output = _allow
        if self.devices and "gpu" not in workflow.global_resources:
            # As many jobs at once as have GPUs of their own; --resources says otherwise.
            workflow.global_resources["gpu"] = len(self.devices)

    def _build(self) -> plans.Plan:
        # Jobs are started without it.
        from dkd import config

        plan = plans.build(config.load())
        if DVC_STAGE in os.environ:
            check_dvc_deps.check(plan)
        return plan

    @cached_property
    def _asked(self) -> plan_file.Run:
        """How the nodes stand, once Snakemake knows its targets."""
        if self._frozen:
            return self._frozen
        settings, plan = self.workflow.dag_settings, self.plan
        targets = set(settings.targets)
        forced = set(settings.forcerun) | (targets if settings.forcetargets else set())
        redo = [
            folder
            for folder, node in plan.nodes.items()
            if settings.forceall or node.rule in forced or f"{folder}/{STAMP}" in forced
        ]
        # Under DVC, which would record it, damage is looked for byte by byte.
        verify = STAGES.get(os.environ.get(DVC_STAGE, "").rpartition(":")[2], [])
        found = states.find(plan, not targets or "all" in targets, redo, verify)
        return plan_file.Run(plan, {folder: state.name for folder, state in found.items()}, redo, verify)

    def stamps(self, rules: Iterable[str]) -> list[str]:
        """The last files of all nodes of some rules."""
        return [_stamp(node) for node in self.plan.of(*rules)]

    def again(self, rules: Iterable[str]) -> list[str]:
        """What has those nodes of some rules made that are there but not good; and has outdated copies published."""
        found = [file for node in self.plan.of(*rules) for file in self._again(node)]
        if "page" in rules and not found and publish.outdated(self.plan):
            [page] = self.plan.of("page")
            found.append(self._ask_again(page))
        return found

    def inputs(self, folder: str) -> list[str]:
        """The last files of the nodes that a node is made from; none where it is good, so that none is made for it."""
        node = self._node(folder)
        if self._asked.states[folder] in ("present", "archived"):
            return []
        return [_stamp(each) for each in self.plan.inputs(node)]

    def inputs_again(self, folder: str) -> list[str]:
        """What has a node, and those that it is made from, made where they are there but not good."""
        node = self._node(folder)
        needed = [node, *self.plan.inputs(node)] if self.inputs(folder) else [node]
        return [file for each in needed for file in self._again(each)]

    def _again(self, node: Node) -> list[str]:
        bad = self._asked.states[node.folder] in ("damaged", "stale", "open")
        return [self._ask_again(node)] if bad and Path(_stamp(node)).exists() else []

    def _ask_again(self, node: Node) -> str:
        return f"{AGAIN}/{self._asked.name}/{node.key}"

    def _node(self, folder: str) -> Node:
        try:
            return self.plan.node(folder)
        except InputError as error:
            sys.exit(one_line(error))

    def threads(self, rule: str) -> int:
        """Cores that a job of a rule takes."""
        return self.plan.runtime["threads"] * self._processes(rule)

    def gpus(self, rule: str) -> int:
        """GPUs that a job of a rule takes."""
        return self._processes(rule) if self.devices and RULES[rule].gpu else 0

    def _processes(self, rule: str) -> int:
        return self.plan.runtime["processes"] if RULES[rule].shared else 1

    def command(self) -> str:
        """The command line of a job: the interpreter of this process, or that of the environment that is deployed."""
        deployed = bool(self.workflow.deployment_settings.deployment_method)
        words = ["python" if deployed else shlex.quote(sys.executable), "-m", JOB]
        if Path.cwd() != ROOT:
            words = ["cd", shlex.quote(str(ROOT)), "&&", *words, "--directory", shlex.quote(str(Path.cwd()))]
        line = " ".join(words).replace("{", "{{").replace("}", "}}")
        return f"{line} --log {{log:q}} {{output.provenance:q}}"

    def start(self) -> None:
        """Take the lock and leave the plan for the jobs."""
        if not self.workflow.is_main_process:
            return
        try:
            self._lock, waited = store.lock(wait=not self.config.get("no_wait"))
            if waited:
                # What there is to do is known by now to be something else.
                os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
            store.lay_out()
            store.sweep()
            for left in (store.FAILED, Path(AGAIN)):
                shutil.rmtree(left, ignore_errors=True)
            raw_digest.save()
            plan_file.write(self._asked)
        except (InputError, OSError) as error:
            sys.exit(one_line(error))
        # Said of each output of a job that fails; there is nothing to restore, as nodes are renamed into place.
        logging.getLogger("snakemake.logging").addFilter(lambda record: "no backup found" not in record.getMessage())
        if (hint := status.in_dvc_cache(self.plan)) is not None:
            print(f"dkd: {hint}", file=sys.stderr)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        """Have a signal end the jobs, too, which Snakemake would wait for."""
        before: Callable | Any = signal.getsignal(number)
        if not callable(before):
            return

        def handle(number: int, frame: Any) -> None:
            threading.Thread(target=_end_jobs, daemon=True).start()
            before(number, frame)

        signal.signal(number, handle)

    def succeed(self) -> None:
        """Publish what is new, and archive what no run asks for."""
        if publish.publish(self.plan):
            [summary] = self.plan.of("summary")
            print(Path(summary.folder, "table.txt").read_text(encoding="utf-8"))
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
                lines.insert(0, f"dkd: no page could be made of what there is: {error}")
            atexit.register(print, "\n".join(lines), file=sys.stderr, flush=True)


def _stamp(node: Node) -> str:
    return f"{node.folder}/{STAMP}"


async def _allow(job: Job) -> None:
    pass


def _end_jobs() -> None:
    """Ask every job of this process to stop, also those that are only just being started."""
    while True:
        below = psutil.Process().children(recursive=True)
        jobs = [process for process in below if _is_job(process)]
        for job in jobs:
            # Not the processes that a job has forked, which it ends itself.
            with contextlib.suppress(psutil.NoSuchProcess):
                if job.parent() not in jobs:
                    job.terminate()
        time.sleep(0.5)


def _is_job(process: psutil.Process) -> bool:
    try:
        return JOB in process.cmdline()
    except psutil.NoSuchProcess:
        return False
