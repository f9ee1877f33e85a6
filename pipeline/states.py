"""How each node of a plan stands on disk, and so what a run has to make; changes nothing.

A node is good as long as its own files are: a missing input is no reason to make it again. One that was made from
other content than its input has now is stale.
"""

from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from pipeline import provenance, store
from pipeline.plan import Plan

TO_MAKE = ("missing", "damaged", "stale")
"""States of nodes that the next run makes."""


class State(NamedTuple):
    """`name` is one of

    present; archived (restored unchanged); missing; damaged (its files are not those that were written); stale (an
    input holds other content now, or the user asked for it anew); open (present, but an input is made again first: if
    that comes out the same, this is kept, else it is stale).
    `reason` says why a node is damaged, stale or open.
    """

    name: str
    reason: str = ""


def find(
    plan: Plan, everything: bool = True, redo: Container[str] = (), verify: Container[str] = ()
) -> dict[str, State]:
    """The state of every node, by folder.

    `everything`: the run makes all that is missing; else only what its targets need, so that a good node stays good
    whatever happens to its inputs. `redo`: folders to make anew. `verify`: rules whose files are read, not only
    measured.
    """
    found: dict[str, State] = {}
    remade = {"stale", "open", *(("missing", "damaged") if everything else ())}
    for node in plan.nodes.values():
        place = store.find(node.folder)
        archived = place is not None and place != Path(node.folder)
        damage = provenance.damage(place, node.key, node.rule in verify) if place else None
        again = next((each.folder for each in plan.inputs(node) if found[each.folder].name in remade), None)
        if place is None or (archived and damage):
            state = State("missing")
        elif damage:
            state = State("damaged", damage)
        elif node.folder in redo:
            state = State("stale", "it is to be made anew")
        elif reason := provenance.replaced_input(plan, node, place):
            state = State("stale", reason)
        elif again:
            state = State("open", f"its input {again} is made again; it is kept if that comes out the same")
        else:
            state = State("archived" if archived else "present")
        found[node.folder] = state
    return found
