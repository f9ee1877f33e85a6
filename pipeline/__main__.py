"""python -m pipeline COMMAND: what one asks of the workflow without running it."""

import argparse
import datetime
import json
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

from dkd import config
from dkd.errors import InputError
from pipeline import adopt, faults, fingerprint, garbage, keep, plan, publish, status


def _plan() -> plan.Plan:
    return plan.build(config.load())


def show(verify: bool, as_json: bool) -> int:
    """Print how each node stands and why, and what the next run will do; 1 where `verify` finds damage."""
    if verify:
        # What raw data held when it was last read is not to be trusted either.
        shutil.rmtree(fingerprint.RAW_CACHE, ignore_errors=True)
    found = status.Status(_plan(), verify)
    print(json.dumps(found.content(), indent=1) if as_json else "\n".join(found.lines()))
    if verify and found.count("damaged"):
        print("dkd: damage found; `python -m pipeline tidy --verify`, then a run makes it again", file=sys.stderr)
        return 1
    return 0


def tidy(verify: bool) -> None:
    """Do what each run does first: bring back, set aside."""
    keep.tidy(_plan(), verify)


def prune() -> None:
    """Move what no run asks for into the attic."""
    keep.prune(_plan())


def collect(keep_days: float | None, max_size: int | None) -> None:
    """Delete from the attic and the damaged; say what."""
    if keep_days is None and max_size is None:
        raise InputError("gc: say what is to be kept: --keep-days N, --max-size S (such as 20GB), or both")
    gone = garbage.collect(_plan(), keep_days, max_size)
    for waste in gone:
        print(f"deleted {waste.path}  {status.volume(waste.size)}")
    print(f"{len(gone)} folders deleted, {status.volume(sum(waste.size for waste in gone))} freed")


def take_over() -> int:
    """Keep nodes whose code alone changed; 1 where one was refused."""
    refused = adopted = 0
    for outcome in adopt.adopt(_plan(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")):
        adopted += outcome.adopted
        refused += not outcome.adopted
        print(f"{'adopted' if outcome.adopted else 'refused'}  {outcome.node.folder}")
        print(f"         from {outcome.old}")
        for reason in outcome.reasons:
            print(f"         {reason}")
    print(f"{adopted} nodes adopted, {refused} refused")
    return int(bool(refused))


def page(out: Path) -> None:
    """Write the page of what is there into a folder of its own."""
    if out.exists():
        raise InputError(f"{out}: exists already; remove it or name another folder")
    [node] = _plan().of("page")
    out.mkdir(parents=True)
    inputs = {name: Path(source.path) for name, source in node.inputs.items()}
    import_module("pipeline.stages.page").run(node.params, {}, inputs, out)
    print(out / publish.PAGE)


def _days(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return float(text)


def _size(text: str) -> int:
    try:
        return garbage.size_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 500MB or 20GB") from None


def main() -> int:
    """Exit status: 0 done, 1 with one line on what to mend."""
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__.split(": ")[1])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run, words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words, description=words)
        added.set_defaults(run=run)
        return added

    asked = command("status", show, "each node of the plan: there or not, why not, and what the next run will do")
    asked.add_argument("--verify", action="store_true", help="read every file and compare; exit status 1 on damage")
    asked.add_argument("--json", action="store_true", dest="as_json", help="for programs")
    tidying = command("tidy", tidy, "bring wanted nodes back from .dkd/attic, set damaged ones aside in .dkd/damaged")
    tidying.add_argument("--verify", action="store_true", help="read every file, not only its size")
    command("prune", prune, "move nodes that no run asks for to .dkd/attic")
    waste = command("gc", collect, "delete from .dkd/attic and .dkd/damaged; what the plan asks for stays")
    waste.add_argument("--keep-days", type=_days, metavar="N", help="delete what lies there for more than N days")
    waste.add_argument("--max-size", type=_size, metavar="S", help="delete the oldest beyond S, such as 20GB")
    command("adopt", take_over, "after an edit that changes no result: keep nodes that differ in code alone")
    tables = command("publish", publish.publish, "copy tables and figures to metrics/, the page to report/")
    tables.add_argument("stamps", type=Path, nargs="+", help="provenance.json of the nodes summary and page")
    partial = command("page", page, "make the page of what is there by now; it says what is missing")
    partial.add_argument("out", type=Path, help="folder to write it to")
    arguments = vars(parser.parse_args())
    run = arguments.pop("run")
    del arguments["command"]
    try:
        return run(**arguments) or 0
    except (InputError, OSError) as error:
        print(faults.sentence(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
