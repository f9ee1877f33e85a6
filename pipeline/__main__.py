"""python -m pipeline COMMAND: inspects and maintains the results of the workflow without running it."""

import datetime
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import humanfriendly
import typer

from dkd.config import read
from dkd.errors import InputError, one_line
from pipeline import adopt, compare, locks, plan, publish, raw_digest, status, store
from pipeline.rules import RULES

app = typer.Typer(
    help="Inspect and maintain the results of the workflow without running it.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120, "terminal_width": 120},
)
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="If a run is active here: wait for it, or fail.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def _alone(wait: bool) -> Iterator[plan.Plan]:
    """The plan, while no run is active in this directory."""
    with locks.lock(wait)[0]:
        store.prepare()
        yield plan.build(read.load("params.yaml"), fresh=False)
        raw_digest.save()


@app.command("status")
def show(
    verify: Annotated[bool, typer.Option("--verify", help="Read every file, not only its size.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of each node and its reason, and what the next run will do (--verify: exit status 1 on damage)."""
    current = plan.build(read.load("params.yaml"), fresh=verify)
    current.verify = list(RULES) if verify else []
    found = status.look(current)
    print(json.dumps(found, indent=1) if as_json else "\n".join(status.lines(current, found)))
    if verify and "damaged" in [node["state"] for node in found["nodes"]]:
        raise InputError("damage found; `snakemake --config verify=1` makes it again")


@app.command("compare")
def set_against(
    first: Annotated[str, typer.Argument(metavar="REV", help="A commit, branch or tag, or an experiment of DVC.")],
    second: Annotated[str | None, typer.Argument(metavar="[REV]", help="By default the working tree.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the metrics of two revisions side by side, and the params and code that differ; nothing is checked out."""
    found = compare.compare(first, second)
    if second is None and (doubt := compare.doubt()):
        print(f"dkd: {doubt}", file=sys.stderr)
    print(json.dumps(found, indent=1) if as_json else "\n".join(compare.lines(found)))


@app.command()
def prune(wait: Wait = True) -> None:
    """Move nodes that no run needs to .dkd/archive."""
    with _alone(wait) as current:
        store.prune(current)


@app.command()
def redo(what: Annotated[list[str], typer.Argument(metavar="FOLDER|RULE...")], wait: Wait = True) -> None:
    """Have the next run recompute nodes, named by folder or by rule; the old ones move to .dkd/archive."""
    wanted = dict.fromkeys(name.rstrip("/") for name in what)
    with _alone(wait) as current:
        rules = dict.fromkeys(node.rule for node in current.of())
        for name in wanted.keys() - rules.keys() - current.nodes.keys():
            raise InputError(f"redo: {name} is neither a folder of the plan nor one of its rules: {', '.join(rules)}")
        for node in current.of():
            while wanted.keys() & {node.rule, node.folder} and (place := store.find(node.folder)):
                print(f"archived {store.set_aside(place, store.ARCHIVE)}")


@app.command("gc")
def collect(
    keep_days: Annotated[float | None, typer.Option(min=0, help="Delete what has been there for more days.")] = None,
    max_size: Annotated[str | None, typer.Option(help="Delete the oldest beyond this size, such as 20GB.")] = None,
    wait: Wait = True,
) -> None:
    """Delete old nodes from .dkd/archive and .dkd/quarantine; what the plan needs is kept."""
    if keep_days is None and max_size is None:
        raise InputError("gc: state what to keep: --keep-days N, --max-size S (such as 20GB), or both")
    try:
        size = None if max_size is None else humanfriendly.parse_size(max_size)
    except humanfriendly.InvalidSize:
        raise InputError(f"--max-size: {max_size!r} is not a size; write 500MB or 20GB") from None
    with _alone(wait) as current:
        gone = store.collect(current, keep_days, size)
    for path, freed in gone.items():
        print(f"deleted {path}  {humanfriendly.format_size(freed)}")
    print(f"{len(gone)} folders deleted, {humanfriendly.format_size(sum(gone.values()))} freed")


@app.command("adopt")
def take_over(wait: Wait = True) -> None:
    """After a code edit that changes no result: keep nodes that differ in code alone (exit status 1: some refused)."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    count = {"adopted": 0, "refused": 0}
    with _alone(wait) as current:
        for became, folder, old, reasons in adopt.adopt(current, now):
            count[became] += 1
            print(f"{became}  {folder}", f"from {old}", *reasons, sep="\n         ")
    print(f"{count['adopted']} nodes adopted, {count['refused']} refused")
    raise typer.Exit(int(count["refused"] > 0))


@app.command()
def page(out: Annotated[Path, typer.Argument(help="Folder to write it to.")]) -> None:
    """Write the page with the results so far; it lists what is missing."""
    if out.exists():
        raise InputError(f"{out}: exists already; remove it or name another folder")
    current = plan.build(read.load("params.yaml"), fresh=False)
    out.mkdir(parents=True)
    publish.write_page(current, out)
    print(out / publish.PAGE)


def main() -> None:
    """Exit status: 0 success, 1 user error (reported in one line), 2 usage error."""
    try:
        app()
    except (InputError, OSError) as error:
        sys.exit(one_line(error, None))


if __name__ == "__main__":
    main()
