"""python -m pipeline status | prune | publish STAMP: what one asks of the workflow without running it."""

import argparse
import sys
from pathlib import Path

from dkd import config
from dkd.errors import InputError
from pipeline import faults, keep, plan, publish


def status() -> None:
    """Print each node of the plan with whether it is there, and how many are."""
    nodes = plan.build(config.load()).nodes.values()
    here = {node.folder: (Path(node.folder) / plan.STAMP).exists() for node in nodes}
    for folder, present in here.items():
        print(f"{'present' if present else 'missing'}  {folder}")
    print(f"{sum(here.values())} of {len(here)} nodes present")


def prune() -> None:
    """Move what no run asks for into the attic."""
    keep.prune(plan.build(config.load()))


def main() -> int:
    """Exit status: 0 done, 1 with one line on what to mend."""
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__.split(": ")[1])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("status", help="list the nodes of the plan, present or missing").set_defaults(run=status)
    commands.add_parser("prune", help="move nodes that no run asks for to .dkd/attic").set_defaults(run=prune)
    tables = commands.add_parser("publish", help="copy the tables of a summary node to metrics/")
    tables.add_argument("stamp", type=Path, help="the summary node's provenance.json")
    tables.set_defaults(run=publish.publish)
    arguments = vars(parser.parse_args())
    run = arguments.pop("run")
    del arguments["command"]
    try:
        run(**arguments)
    except (InputError, OSError) as error:
        print(faults.sentence(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
