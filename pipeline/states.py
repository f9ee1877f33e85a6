"""How each node of a plan stands on disk, and so what a run has to make; changes nothing.

A node is good as long as its own files are: a missing input is no reason to make it again. One that was made from
other content than its input has now is stale.
"""

from pathlib import Path
from typing import NamedTuple

from pipeline import provenance, store
from pipeline.plan import Plan

GOOD, TO_MAKE = ("present", "archived"), ("missing", "damaged", "stale")
"""States of nodes that the next run leaves or restores, and that it makes; those that are open it looks at again."""


class State(NamedTuple):
    """One of the six states of docs/architecture.md; `reason` says why a node is damaged, stale or open."""

    name: str
    reason: str = ""


def find(plan: Plan, everything: bool = True) -> dict[str, State]:
    """The state of every node, by folder.

    `everything`: the run makes all that is missing; else only what its targets need, so that a good node stays good
    whatever happens to its inputs.
    """
    found: dict[str, State] = {}
    remade = {"stale", "open", *(("missing", "damaged") if everything else ())}
    for folder, node in plan.nodes.items():
        place = store.find(folder)
        archived = place is not None and place != Path(folder)
        damage = provenance.damage(place, node.key, node.rule in plan.verify) if place else None
        again = next((each.folder for each in plan.inputs(node) if found[each.folder].name in remade), None)
        if place is None or (archived and damage):
            state = State("missing")
        elif damage:
            state = State("damaged", damage)
        elif folder in plan.redo:
            state = State("stale", "it is to be made anew")
        elif reason := provenance.replaced_input(plan, node, place):
            state = State("stale", reason)
        elif again:
            state = State("open", f"its input {again} is made again; it is kept if that comes out the same")
        else:
            state = State("archived" if archived else "present")
        found[folder] = state
    return found
