"""python -m pipeline COMMAND: what one asks of the workflow without running it."""

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
from pipeline import adopt, garbage, plan, publish, raw_digest, rules, states, status, store

app = typer.Typer(
    help="What one asks of the workflow without running it.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120, "terminal_width": 120},
)
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Where a run is at work here: wait for it, or fail.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read every file, not only its size.")]


def _plan() -> plan.Plan:
    return plan.build(read.load())


@contextmanager
def _alone(wait: bool) -> Iterator[plan.Plan]:
    """The plan, while no run is at work in this directory."""
    with store.lock(wait)[0]:
        yield _plan()
        raw_digest.save()


@app.command("status")
def show(
    verify: Verify = False, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Show how each node of the plan stands and why, and what the next run will do; with --verify, 1 on damage."""
    if verify:
        # What raw data held when it was last read is not to be trusted either.
        raw_digest.forget()
    found = status.Status(_plan(), verify)
    print(json.dumps(found.content(), indent=1) if as_json else "\n".join(found.lines()))
    if verify and found.count("damaged"):
        raise InputError("damage found; `python -m pipeline tidy --verify`, then a run makes it again")


@app.command()
def tidy(verify: Verify = False, wait: Wait = True) -> None:
    """Restore what the plan asks for from .dkd/archive, and quarantine what is damaged."""
    with _alone(wait) as current:
        for folder, state in states.find(current, verify=rules.RULES if verify else ()).items():
            if state.name == "archived":
                store.put(store.find(folder), Path(folder))
                print(f"restored    {folder}")
            elif state.name == "damaged":
                print(f"quarantined {store.set_aside(Path(folder))}: {state.reason}")


@app.command()
def prune(wait: Wait = True) -> None:
    """Move nodes that no run asks for to .dkd/archive."""
    with _alone(wait) as current:
        store.lay_out()
        store.prune(current)


@app.command()
def redo(what: Annotated[list[str], typer.Argument(metavar="FOLDER|RULE...")], wait: Wait = True) -> None:
    """Have the next run make nodes anew, by folder or by rule; the old ones go to .dkd/archive."""
    names = [name.rstrip("/") for name in what]
    with _alone(wait) as current:
        known = dict.fromkeys(node.rule for node in current.of())
        for name in names:
            if name not in known and name not in current.nodes:
                raise InputError(
                    f"redo: {name} is neither a folder of the plan nor one of its rules: {', '.join(known)}"
                )
        for node in current.of():
            while {node.rule, node.folder} & set(names) and (place := store.find(node.folder)):
                print(f"archived {store.set_aside(place, store.ARCHIVE)}")


@app.command("gc")
def collect(
    keep_days: Annotated[float | None, typer.Option(min=0, help="Delete what has lain there for more days.")] = None,
    max_size: Annotated[str | None, typer.Option(help="Delete the oldest beyond this size, such as 20GB.")] = None,
    wait: Wait = True,
) -> None:
    """Delete from .dkd/archive and .dkd/quarantine; what the plan asks for stays."""
    if keep_days is None and max_size is None:
        raise InputError("gc: say what is to be kept: --keep-days N, --max-size S (such as 20GB), or both")
    try:
        size = None if max_size is None else humanfriendly.parse_size(max_size)
    except humanfriendly.InvalidSize:
        raise InputError(f"--max-size: {max_size!r} is not a size; write 500MB or 20GB") from None
    with _alone(wait) as current:
        gone = garbage.collect(current, keep_days, size)
    for waste in gone:
        print(f"deleted {waste.path}  {humanfriendly.format_size(waste.size)}")
    print(f"{len(gone)} folders deleted, {humanfriendly.format_size(sum(waste.size for waste in gone))} freed")


@app.command("adopt")
def take_over(wait: Wait = True) -> None:
    """After an edit that changes no result: keep nodes that differ in code alone (1 where one is refused)."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    count = {True: 0, False: 0}
    with _alone(wait) as current:
        for outcome in adopt.adopt(current, now):
            count[outcome.adopted] += 1
            print(
                f"{'adopted' if outcome.adopted else 'refused'}  {outcome.node.folder}",
                f"from {outcome.old}",
                *outcome.reasons,
                sep="\n         ",
            )
    print(f"{count[True]} nodes adopted, {count[False]} refused")
    raise typer.Exit(int(count[False] > 0))


@app.command("publish")
def publish_all(wait: Wait = True) -> None:
    """Copy tables and figures to metrics/, the page to report/, where they differ; a run does so when it ends."""
    with _alone(wait) as current:
        done = publish.publish(current)
    print(f"published in {publish.METRICS}/ and {publish.REPORT}/" if done else "nothing to publish")


@app.command()
def page(out: Annotated[Path, typer.Argument(help="Folder to write it to.")]) -> None:
    """Make the page of what is there by now; it says what is missing."""
    if out.exists():
        raise InputError(f"{out}: exists already; remove it or name another folder")
    current = _plan()
    out.mkdir(parents=True)
    publish.write_page(current, out)
    print(out / publish.PAGE)


def main() -> None:
    """Exit status: 0 done, 1 with one line on what to correct, 2 wrong usage."""
    try:
        app()
    except (InputError, OSError) as error:
        sys.exit(one_line(error, None))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
