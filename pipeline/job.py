"""Makes one node: the work of its stage in a scratch folder, provenance, and one rename into place as the last act.

    python -m pipeline.job FOLDER/provenance.json

Started by Snakemake. Knows the plan of the run (`plan_file`), not params.yaml, so that no work can see a param that is
not in its key. A node that is good already, or lies in an archive, is not made again. A job that fails or is stopped
leaves nothing behind but the state of its training, from which the next one goes on.
"""

import argparse
import copy
import datetime
import importlib
import logging
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from dkd.errors import InputError, one_line
from pipeline import code_digest, gpus, launch, plan_file, provenance, store
from pipeline import log as logs
from pipeline.plan import Node, Plan, entries
from pipeline.plan_file import Run
from pipeline.rules import RULES

log = logging.getLogger("dkd.job")


def make(run: Run, folder: str) -> None:
    """Make the node of `folder`, unless it is good or can be restored.

    Raises InputError where the plan has no such node, code changed since the plan was made, an input is not there, or
    a file that the rule promises was not written.
    """
    plan, node, target, rule = run.plan, run.plan.node(folder), Path(folder), RULES[run.plan.node(folder).rule]
    redo = folder in run.redo
    if not redo and (place := store.find(folder)):
        reason = provenance.damage(place, node.key, node.rule in run.verify)
        if not (reason := reason or provenance.replaced_input(plan, node, place)):
            if place != target:
                store.put(place, target)
            log.info("unchanged" if place == target else "restored from the archive")
            return
        log.info("made again: %s%s", reason, f"; the old one goes to {store.QUARANTINE}" if place == target else "")
    scratch = store.SCRATCH / store.slug(folder)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        names = gpus.found(plan.runtime["device"]) if rule.gpu else []
        with gpus.taken(names, plan.runtime["processes"] if rule.shared else 1):
            record = _work(plan, node, scratch)
        provenance.write(scratch, record)
        store.put(scratch, target, store.ARCHIVE if redo else store.QUARANTINE)
        provenance.flush(target.parent)
        shutil.rmtree(store.WORK / node.key, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        store.drop_empty(target)


def _work(plan: Plan, node: Node, scratch: Path) -> dict[str, Any]:
    """Run the stage into `scratch`; return what provenance.json is to say, but for the files."""
    inputs, modules = provenance.inputs(plan, node), plan.code[node.code]
    _check_code(node)
    importlib.import_module(f"pipeline.stages.{node.rule}")
    # Again: what was edited while it was being imported is not what the key says either.
    _check_code(node)
    started, clock = _now(), time.monotonic()
    cost = _run(node, plan.runtime, scratch)
    if missing := [name for name in RULES[node.rule].files if not (scratch / name).is_file()]:
        raise InputError(f"{node.label}: the stage {node.rule} did not write {', '.join(missing)}")
    seconds = round(time.monotonic() - clock, 2)
    log.info("done in %.0f s", seconds)
    record = {"schema": provenance.SCHEMA, "rule": node.rule, "key": node.key, "params": node.params, "inputs": inputs}
    record |= {"code": modules, **provenance.surroundings(), "runtime": plan.runtime}
    return {**record, "started": started, "finished": _now(), "seconds": seconds, "cost": cost or {}}


def _run(node: Node, runtime: dict[str, Any], scratch: Path) -> Any:
    """What the stage returns, from as many processes as the runtime asks for."""
    work = store.WORK / node.key
    params, inputs = copy.deepcopy(node.params), {name: Path(source.path) for name, source in node.inputs.items()}
    runtime = {**copy.deepcopy(runtime), "work": str(work), "tensorboard_dir": f"logs/tensorboard/{node.folder}"}
    if runtime["processes"] > 1 and RULES[node.rule].shared:
        request = {"rule": node.rule, "label": node.label, "log": node.log, "params": params, "runtime": runtime}
        return launch.run({**request, "inputs": inputs, "out": scratch}, runtime["processes"], work / "processes")
    return importlib.import_module(f"pipeline.stages.{node.rule}").run(params, runtime, inputs, scratch)


def _check_code(node: Node) -> None:
    """The code as it lies on disk has to be that of the plan."""
    if code_digest.digest(code_digest.Code().closure(entries(node.rule, node.params))) != node.code:
        raise InputError(f"{node.label}: code changed since the run started; start again")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class _Stop:
    """Turns SIGINT and SIGTERM into KeyboardInterrupt, once, so that a stopped job still cleans up."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._process = os.getpid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:
            # A forked worker: SIGTERM ends it, SIGINT is its parent's affair.
            if number == signal.SIGTERM:
                os._exit(128 + number)
        elif self.signal is None:
            self.signal = number
            raise KeyboardInterrupt


def _finished(run: Run, node: Node) -> bool:
    """Whether the node was put into place before the job was asked to stop."""
    place = Path(node.folder)
    other = provenance.damage(place, node.key) or provenance.replaced_input(run.plan, node, place)
    return other is None and node.folder not in run.redo


def main() -> int:
    """Make the node that the command line asks for; exit status 0 done, 1 failed, 128 + signal when stopped."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.job", description="Make one node of the plan of a run.")
    parser.add_argument("--directory", type=Path, default=Path(), help="working directory")
    parser.add_argument("output", type=Path, help="provenance.json of the node, its last file")
    arguments = parser.parse_args()
    stop, node = _Stop(), None
    try:
        os.chdir(arguments.directory)
        run = plan_file.read()
        node = run.plan.node(str(arguments.output.parent))
        logs.begin(node.label, node.log)
        with store.join():
            make(run, node.folder)
    except BaseException as error:
        if stop.signal is not None:
            # Whatever a library made of the interrupt, it is one.
            if node is not None and _finished(run, node):
                return 0
            print("dkd: stopped; nothing half-made is left", file=sys.stderr)
            return 128 + stop.signal
        log.debug("failed", exc_info=error)
        known = isinstance(error, InputError | OSError)
        line = one_line(error, store.SCRATCH) if known else f"dkd: {type(error).__name__}: {error}"
        if node is not None:
            store.FAILED.mkdir(parents=True, exist_ok=True)
            (store.FAILED / node.key).write_text(f"{line} ({node.label}, log: {node.log})", encoding="utf-8")
        if not known:
            raise
        print(line, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
