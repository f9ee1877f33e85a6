"""Makes one node: lock, scratch folder, the stage's work, provenance, and one rename into place as the last act.

    python -m pipeline.node --log FILE OUTPUT...

Started by Snakemake with the files that a rule promises. Knows the frozen plan of the run; params.yaml is out of reach
here, so that no work can see a param that is not in its key. A job that fails or is stopped leaves nothing behind but
the state of its training, in .dkd/work, from which the next one goes on.
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

from dkd.errors import InputError
from pipeline import devices, faults, fingerprint, keep, logs, processes, provenance
from pipeline import plan as plans
from pipeline.plan import STAMP, Node, Plan

USES = {"base": "train", "increment": "train", "evaluate": "evaluate", "panels": "evaluate", "memory": "evaluate"}
"""What the rules that compute on a GPU, where there is one, use it for."""
SHARED = ("base", "increment", "evaluate")
"""The rules whose work several processes can share; any other is the work of one."""

SETTLE = 1.5
"""Seconds in which the Snakemake that made a node has written down that it did."""

log = logging.getLogger("dkd.node")


def make(plan: Plan, folder: str, promised: list[str]) -> None:
    """Make the node of `folder`, unless somebody has; `promised` are the files that it must hold.

    Raises InputError where the plan has no such node, code changed since the plan was made, an input is not there, or
    a promised file was not written.
    """
    node = plan.node(folder)
    with keep.lock(folder, wait=False) as free:
        if not free:
            log.info("another run is making this; waiting")
    with keep.lock(folder):
        # Another run may have made it, or have put it into the attic, since the graph of this one was built.
        keep.mend(plan, node)
        if (Path(folder) / STAMP).exists():
            _settle(Path(folder) / STAMP)
            return
        scratch = keep.SCRATCH / keep.slug(folder)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            number = plan.runtime["processes"] if node.rule in SHARED else 1
            names = devices.found(plan.runtime["device"], number) if node.rule in USES else []
            with devices.taken(names, USES.get(node.rule, ""), number):
                record = _work(plan, node, scratch, promised)
            provenance.write(scratch, record)
            keep.put(scratch, Path(folder))
            provenance.flush(Path(folder).parent)
            shutil.rmtree(keep.WORK / node.key, ignore_errors=True)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            keep.drop_empty(Path(folder))


def _settle(stamp: Path) -> None:
    """Be done a little later than the run that made it: two Snakemakes that write down the same job at the same moment
    can trip over each other's records, and then delete what was made."""
    age = time.time() - stamp.stat().st_mtime
    time.sleep(min(max(SETTLE - age, 0.0), SETTLE))


def _work(plan: Plan, node: Node, scratch: Path, promised: list[str]) -> dict[str, Any]:
    """Run the stage into `scratch`; return what provenance.json is to say, but for the files."""
    inputs = {
        name: {"path": source.path, "key": source.key, "digest": _digest_of(plan, source)}
        for name, source in node.inputs.items()
    }
    _check_code(node)
    importlib.import_module(f"pipeline.stages.{node.rule}")
    # Again: what was edited while it was being imported is not what the key says either.
    code = _check_code(node)
    started, clock = _now(), time.monotonic()
    paths = {name: Path(source.path) for name, source in node.inputs.items()}
    cost = _run(node, plan.runtime, paths, scratch)
    missing = [name for name in promised if not (scratch / name).is_file()]
    if missing:
        raise InputError(f"{node.label}: the stage {node.rule} did not write {', '.join(missing)}")
    seconds = round(time.monotonic() - clock, 2)
    log.info("done in %.0f s", seconds)
    return {
        "schema": provenance.SCHEMA,
        "rule": node.rule,
        "key": node.key,
        "params": node.params,
        "inputs": inputs,
        "code": plan.code[node.code],
        "definitions": code.definitions(plan.code[node.code]),
        **provenance.surroundings(),
        "runtime": plan.runtime,
        "started": started,
        "finished": _now(),
        "seconds": seconds,
        "cost": cost or {},
    }


def _run(node: Node, runtime: dict[str, Any], paths: dict[str, Path], scratch: Path) -> Any:
    """What the stage returns, from as many processes as the runtime asks for."""
    work = keep.WORK / node.key
    places = {"work": str(work), "board": f"logs/tensorboard/{node.folder}"}
    params, runtime = copy.deepcopy(node.params), {**copy.deepcopy(runtime), **places}
    if runtime["processes"] > 1 and node.rule in SHARED:
        return processes.run(node.rule, node.label, params, runtime, paths, scratch, work / "processes")
    return importlib.import_module(f"pipeline.stages.{node.rule}").run(params, runtime, paths, scratch)


def _digest_of(plan: Plan, source: plans.Source) -> str:
    if source.path not in plan.nodes:
        return source.key
    record = provenance.read(Path(source.path))
    if record is None:
        raise InputError(f"input {source.path} is not there any more; start again")
    return record["digest"]


def _check_code(node: Node) -> fingerprint.Code:
    """The code as it lies on disk, which is that of the plan."""
    code = fingerprint.Code()
    if fingerprint.digest(code.closure(plans.entries(node.rule, node.params))) != node.code:
        raise InputError(f"{node.label}: code changed since the run started; start again")
    return code


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
            return
        if self.signal is None:
            self.signal = number
            raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.node", description="Make one node of a frozen plan.")
    parser.add_argument("--log", type=Path, required=True, help="log file")
    parser.add_argument("output", nargs="+", type=Path, help=f"the files of the node, {STAMP} among them")
    return parser.parse_args()


def main() -> int:
    """Make the node that the command line asks for; exit status 0 done, 1 failed, 128 + signal when stopped."""
    stop = _Stop()
    arguments = _arguments()
    try:
        folder = next((path.parent for path in arguments.output if path.name == STAMP), None)
        if folder is None:
            raise InputError(f"none of the outputs is called {STAMP}")
        plan = plans.thaw()
        # From here on there is no way to the params of other nodes.
        os.environ.pop(plans.ENV, None)
        logs.begin(plan.node(str(folder)).label, arguments.log)
        promised = [path.relative_to(folder).as_posix() for path in arguments.output if path.name != STAMP]
        make(plan, str(folder), promised)
    except BaseException as error:
        if stop.signal is not None:
            # Whatever a library made of the interrupt, it is one.
            print("dkd: stopped; nothing half-made is left", file=sys.stderr)
            return 128 + stop.signal
        log.debug("failed", exc_info=error)
        if not isinstance(error, InputError | OSError):
            raise
        print(faults.sentence(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
