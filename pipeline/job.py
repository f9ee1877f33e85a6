"""python -m pipeline.job DIRECTORY FOLDER/provenance.json: makes one node, and renames it into place as the last act.

Started by Snakemake. Knows the plan of the run, not params.yaml, so that no work can see a param that is not in its
key. A job that fails or is stopped leaves nothing behind but the state of its training, which the next one resumes.
"""

import copy
import logging
import os
import resource
import runpy
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dkd.ending import end
from dkd.errors import InputError, one_line
from dkd.files import flush, replacing
from pipeline import ROOT, code_digest, launch, locks, provenance, store
from pipeline import plan as plans
from pipeline.plan import Node, Plan
from pipeline.rules import RULES

log = logging.getLogger("dkd.job")


def make(plan: Plan, folder: str) -> None:
    """Make a node unless it is good or archived. InputError where code changed, or an input or output is missing."""
    node, target = plan.node(folder), Path(folder)
    redo = folder in plan.redo
    if not redo and (place := store.find(folder)):
        if not (reason := _fault(plan, node, place)):
            if place != target:
                store.put(place, target, store.QUARANTINE)
            log.info("unchanged" if place == target else "restored from the archive")
            return
        log.info("made again: %s%s", reason, f"; the old one goes to {store.QUARANTINE}" if place == target else "")
    names = locks.gpus(plan.runtime["device"]) if RULES[node.rule].gpu else []
    try:
        with store.scratch(folder) as scratch:
            with locks.take_gpus(names, plan.processes(node.rule), shared=not plan.requests):
                record = _work(plan, node, scratch)
            provenance.write(scratch, record)
            store.put(scratch, target, store.ARCHIVE if redo else store.QUARANTINE)
        flush(target.parent)
        shutil.rmtree(store.WORK / node.key, ignore_errors=True)
    finally:
        store.drop_empty(target)


def _fault(plan: Plan, node: Node, place: Path) -> str | None:
    """Why what lies at `place` is not the requested node."""
    return provenance.damage(place, node.key, node.rule in plan.verify) or provenance.replaced_input(node, place)


def _work(plan: Plan, node: Node, scratch: Path) -> dict[str, Any]:
    """Run the stage into `scratch`; return what provenance.json is to say, but for the files."""
    inputs = provenance.inputs(node)
    _check_code(node)
    stage = launch.stage(node.rule)
    # Again: what was edited while it was being imported is not what the key says either.
    _check_code(node)
    runtime = {"work": str(store.WORK / node.key), "logs": "logs", "name": node.folder}
    paths = {name: Path(source.path) for name, source in node.inputs.items()}
    given = (copy.deepcopy(node.params), {**copy.deepcopy(plan.runtime), **runtime}, paths, scratch)
    started, number, machine = datetime.now(UTC), plan.processes(node.rule), provenance.machine()
    log.debug("at work on %s", ", ".join(f"{name} {value}" for name, value in machine.items() if value))
    task, asked = (node.rule, node.label, node.log, given, number), plan.requests.get(node.rule, {})
    if "mpi" in asked:
        cost = runpy.run_path(ROOT / asked["mpi"])["run"](*task, asked["nodes"])
    else:
        cost = stage.run(*given) if number == 1 else launch.run(*task)
    if missing := [name for name in RULES[node.rule].files if not (scratch / name).is_file()]:
        raise InputError(f"{node.label}: the stage {node.rule} did not write {', '.join(missing)}")
    finished = datetime.now(UTC)
    seconds = round((finished - started).total_seconds(), 2)
    log.info("done in %.0f s", seconds)
    record = {"schema": provenance.SCHEMA, "rule": node.rule, "key": node.key, "params": node.params, "inputs": inputs}
    record |= {"code": plan.code[node.code], **provenance.surroundings(), "machine": machine, "runtime": plan.runtime}
    times = {"started": started.isoformat(timespec="seconds"), "finished": finished.isoformat(timespec="seconds")}
    peaks = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Of its children the system knows the largest alone.
    children = plan.runtime["workers"] if number == 1 else number * (1 + plan.runtime["workers"])
    return {**record, **times, "seconds": seconds, "memory_bytes": peaks[0] + children * peaks[1], "cost": cost or {}}


def _check_code(node: Node) -> None:
    if code_digest.digest(code_digest.Code(ROOT).closure(plans.entries(node.rule, node.params))) != node.code:
        raise InputError(f"{node.label}: code changed since the run started; start again, in a clone nobody edits")


def _heed() -> list[int]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt, once, so that a stopped job cleans up; in the list returned."""
    process, heard = os.getpid(), []

    def handle(number: int, frame: Any) -> None:
        if os.getpid() != process:
            # A forked worker: SIGTERM ends it, SIGINT is its parent's affair.
            if number == signal.SIGTERM:
                os._exit(128 + number)
        elif not heard:
            heard.append(number)
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return heard


def main() -> int:
    """Make the node that the command line names; exit status 0 done, 1 failed, 128 + signal when stopped."""
    directory, output = sys.argv[1:]
    heard, node = _heed(), None
    try:
        os.chdir(directory)
        current = plans.load(str(Path(output).parent))
        with locks.join():
            node = current.node(str(Path(output).parent))
            launch.begin(node.label, node.log, quiet=False)
            # Of the try before.
            (store.FAILED / node.key).unlink(missing_ok=True)
            with locks.alone(node.key):
                make(current, node.folder)
    except BaseException as error:
        if heard:
            # Whatever a library made of the interrupt, it is one; but a node that was put into place by then is made.
            if node and node.folder not in current.redo and not _fault(current, node, Path(node.folder)):
                return 0
            print("dkd: stopped; nothing half-made is left", file=sys.stderr)
            return 128 + heard[0]
        log.debug("failed", exc_info=error)
        known = isinstance(error, InputError | OSError)
        line = one_line(error, store.SCRATCH) if known else f"dkd: {type(error).__name__}: {error}"
        if node:
            with replacing(store.FAILED / node.key) as note:
                note.write_text(f"{line} ({node.label}, log: {node.log})", encoding="utf-8")
        if not known:
            raise
        print(line, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    end(main)
