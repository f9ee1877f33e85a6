"""python -m pipeline COMMAND: what one asks of the workflow without running it."""

import argparse
import datetime
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dkd import config
from dkd.errors import InputError, one_line
from pipeline import adopt, garbage, plan, publish, raw_digest, states, status, store


def _plan() -> plan.Plan:
    return plan.build(config.load())


@contextmanager
def _alone(wait: bool = True) -> Iterator[plan.Plan]:
    """The plan, while no run is at work in this directory."""
    with store.lock(wait)[0]:
        yield _plan()
        raw_digest.save()


def show(verify: bool, as_json: bool) -> int:
    """Print how each node stands and why, and what the next run will do; 1 where `verify` finds damage."""
    if verify:
        # What raw data held when it was last read is not to be trusted either.
        raw_digest.forget()
    found = status.Status(_plan(), verify)
    print(json.dumps(found.content(), indent=1) if as_json else "\n".join(found.lines()))
    if verify and found.count("damaged"):
        print("dkd: damage found; `python -m pipeline tidy --verify`, then a run makes it again", file=sys.stderr)
        return 1
    return 0


def tidy(verify: bool, wait: bool) -> None:
    """Restore what the plan asks for from the archive, and quarantine what is damaged."""
    with _alone(wait) as current:
        for folder, state in states.find(current, verify=status.RULES if verify else ()).items():
            if state.name == "archived":
                store.put(store.find(folder), Path(folder))
                print(f"restored    {folder}")
            elif state.name == "damaged":
                print(f"quarantined {store.set_aside(Path(folder))}: {state.reason}")


def prune(wait: bool) -> None:
    """Move what no run asks for to the archive."""
    with _alone(wait) as current:
        store.lay_out()
        store.prune(current)


def redo(what: list[str], wait: bool) -> None:
    """Archive nodes of the plan, by folder or by rule, so that the next run makes them anew."""
    with _alone(wait) as current:
        known = list(dict.fromkeys(node.rule for node in current.of()))
        for name in what:
            if name not in known and name.rstrip("/") not in current.nodes:
                raise InputError(
                    f"redo: {name} is neither a folder of the plan nor one of its rules: {', '.join(known)}"
                )
        for node in current.of():
            if (node.rule in what or node.folder in [name.rstrip("/") for name in what]) and store.find(node.folder):
                print(f"archived {store.set_aside(store.find(node.folder), store.ARCHIVE)}")


def collect(keep_days: float | None, max_size: int | None, wait: bool) -> None:
    """Delete from the archive and the quarantine; say what."""
    if keep_days is None and max_size is None:
        raise InputError("gc: say what is to be kept: --keep-days N, --max-size S (such as 20GB), or both")
    with _alone(wait) as current:
        gone = garbage.collect(current, keep_days, max_size)
    for waste in gone:
        print(f"deleted {waste.path}  {status.volume(waste.size)}")
    print(f"{len(gone)} folders deleted, {status.volume(sum(waste.size for waste in gone))} freed")


def take_over(wait: bool) -> int:
    """Keep nodes whose code alone changed; 1 where one was refused."""
    refused = adopted = 0
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with _alone(wait) as current:
        for outcome in adopt.adopt(current, now):
            adopted += outcome.adopted
            refused += not outcome.adopted
            print(f"{'adopted' if outcome.adopted else 'refused'}  {outcome.node.folder}")
            print(f"         from {outcome.old}")
            for reason in outcome.reasons:
                print(f"         {reason}")
    print(f"{adopted} nodes adopted, {refused} refused")
    return int(bool(refused))


def publish_all(wait: bool) -> None:
    """Copy the tables, figures and page of the plan to their fixed places."""
    with _alone(wait) as current:
        done = publish.publish(current)
        print(f"published in {publish.METRICS}/ and {publish.REPORT}/" if done else "nothing to publish")


def page(out: Path) -> None:
    """Write the page of what is there into a folder of its own."""
    if out.exists():
        raise InputError(f"{out}: exists already; remove it or name another folder")
    current = _plan()
    out.mkdir(parents=True)
    publish.write_page(current, out)
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

    def changing(name: str, run, words: str) -> argparse.ArgumentParser:
        added = command(name, run, words)
        added.add_argument("--no-wait", action="store_false", dest="wait", help="fail where a run is at work here")
        return added

    asked = command("status", show, "each node of the plan: there or not, why not, and what the next run will do")
    asked.add_argument("--verify", action="store_true", help="read every file and compare; exit status 1 on damage")
    asked.add_argument("--json", action="store_true", dest="as_json", help="for programs")
    tidying = changing("tidy", tidy, "restore what the plan asks for from .dkd/archive, quarantine what is damaged")
    tidying.add_argument("--verify", action="store_true", help="read every file, not only its size")
    changing("prune", prune, "move nodes that no run asks for to .dkd/archive")
    again = changing("redo", redo, "have the next run make nodes anew; the old ones go to .dkd/archive")
    again.add_argument("what", nargs="+", metavar="FOLDER|RULE", help="folders of nodes, or rules such as base")
    waste = changing("gc", collect, "delete from .dkd/archive and .dkd/quarantine; what the plan asks for stays")
    waste.add_argument("--keep-days", type=_days, metavar="N", help="delete what lies there for more than N days")
    waste.add_argument("--max-size", type=_size, metavar="S", help="delete the oldest beyond S, such as 20GB")
    changing("adopt", take_over, "after an edit that changes no result: keep nodes that differ in code alone")
    changing("publish", publish_all, "copy tables and figures to metrics/, the page to report/, where they differ")
    partial = command("page", page, "make the page of what is there by now; it says what is missing")
    partial.add_argument("out", type=Path, help="folder to write it to")
    arguments = vars(parser.parse_args())
    run = arguments.pop("run")
    del arguments["command"]
    try:
        return run(**arguments) or 0
    except (InputError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
