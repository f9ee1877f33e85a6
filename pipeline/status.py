"""How the plan stands on disk: the state of each node, why it will be made if so, and what that will cost.

Changes nothing. A missing node is compared with the earlier version of it (a folder at the same place, here or in an
archive) that differs least. Costs are the mean of what nodes of the same rule and data set recorded: an estimate.
"""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import humanfriendly
from humanfriendly.text import pluralize

from pipeline import dvc, provenance, store
from pipeline.plan import Node, Plan
from pipeline.rules import FOLDERS, RULES

GOOD, TO_MAKE = ("present", "archived"), ("missing", "damaged", "stale")
"""States of nodes that the next run leaves or restores, and that it makes; at those that are open it looks again."""
SHOWN, SAMPLE = 5, 20
"""How many reasons of a node are shown, and how many nodes an estimate is the mean of, at most."""
KIND = re.compile(f"({'|'.join(FOLDERS)})/[^/]+")
"""The rule's folder and the data set, at the beginning of a place."""


class State(NamedTuple):
    """One of the six states of docs/architecture.md; `reason` says why a node is damaged, stale or open."""

    name: str
    reason: str = ""


def states(plan: Plan, everything: bool) -> dict[str, State]:
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
            state = State("stale", "it is to be made again")
        elif reason := provenance.replaced_input(node, place):
            state = State("stale", reason)
        elif again:
            state = State("open", f"its input {again} is made again; it is kept if that comes out the same")
        else:
            state = State("archived" if archived else "present")
        found[folder] = state
    return found


def look(plan: Plan) -> dict[str, Any]:
    """What `status --json` prints: how each node stands and why, and what the next run will make, at what cost."""
    past, nodes = Past(plan), []
    for folder, (name, reason) in states(plan, everything=True).items():
        reasons = past.reasons(plan.nodes[folder]) if name == "missing" else [f"{name}: {reason}"] if reason else []
        nodes.append({"folder": folder, "rule": plan.nodes[folder].rule, "state": name, "reasons": reasons})
    number = Counter(each["state"] for each in nodes)
    counts = {"present": number["present"], "archived": number["archived"]}
    to_make = [plan.nodes[each["folder"]] for each in nodes if each["state"] in TO_MAKE]
    known = [cost for node in to_make if (cost := past.cost(node))]
    seconds, size = map(sum, zip(*known, strict=True)) if known else (0.0, 0.0)
    estimate = {"seconds": round(seconds, 1), "bytes": round(size), "unknown": len(to_make) - len(known)}
    return {"nodes": nodes, **counts, "to_make": len(to_make), "estimate": estimate}


def lines(plan: Plan, found: dict[str, Any]) -> Iterator[str]:
    """The same in words."""
    for node in found["nodes"]:
        yield f"{node['state']:<8} {node['folder']}"
        yield from (f"         {reason}" for reason in node["reasons"][:SHOWN])
        if len(node["reasons"]) > SHOWN:
            yield f"         and {len(node['reasons']) - SHOWN} more differences"
    archived = f", {found['archived']} more in the archive" if found["archived"] else ""
    yield f"{found['present']} of {len(found['nodes'])} nodes present{archived}"
    if not (total := found["to_make"]):
        yield "the next run makes nothing"
        return
    count = Counter(node["rule"] for node in found["nodes"] if node["state"] in TO_MAKE)
    rules = ", ".join(f"{count[rule]} {rule}" for rule in RULES if count[rule])
    waiting = [node for node in found["nodes"] if node["state"] == "open"]
    again = f", and looks at {len(waiting)} that depend on them" if waiting else ""
    yield f"the next run makes {pluralize(total, 'node')}: {rules}{again}"
    if hint := dvc.recorded(plan):
        yield hint
    if (unknown := found["estimate"]["unknown"]) == total:
        yield "what that costs is unknown: nothing like it was made here"
    else:
        time = humanfriendly.format_timespan(round(found["estimate"]["seconds"]))
        size = humanfriendly.format_size(found["estimate"]["bytes"])
        rest = f"; unknown for {unknown} nodes" if unknown else ""
        yield f"about {time} of work and {size}, estimated from similar nodes{rest}"


def requests(plan: Plan, minutes: float) -> dict[str, dict[str, Any]]:
    """What jobs of each rule ask a scheduler for: GPUs; memory (MB) and time (minutes) where like nodes recorded it.

    Time is twice what such nodes took at most, and 10 minutes, but not more than `minutes`; memory half as much again.
    Like are nodes of the same data set, recipe and `runtime`, made in one go; each data set of the plan must have one.
    """
    past, found = Past(plan), {}
    for name, rule in RULES.items():
        nodes = plan.of(name)
        recipes = [node.params.get("recipe") for node in nodes]
        like = {kind: past.like(kind) for kind in {KIND.match(node.place)[0] for node in nodes}}
        like = {kind: [each for each in records if _tells(each, plan, recipes)] for kind, records in like.items()}
        found[name] = {"gpu": plan.processes(name) if rule.gpu and plan.runtime["device"] == "cuda" else 0}
        if like and all(like.values()):
            costs = [(each["memory_bytes"], each["seconds"]) for records in like.values() for each in records]
            memory, seconds = map(max, zip(*costs, strict=True))
            found[name]["mem_mb"] = math.ceil(1.5 * memory / 2**20)
            found[name]["runtime"] = min(minutes, math.ceil(seconds / 30) + 10)
    return found


def _tells(record: dict[str, Any], plan: Plan, recipes: list[Any]) -> bool:
    known = "memory_bytes" in record and not record["cost"].get("resumed_at")
    return known and record["runtime"] == plan.runtime and record["params"].get("recipe") in recipes


class Past:
    """The nodes that lie here and in archives, whatever plan they are of, and what can be learned from them."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._folders: dict[str, list[Path]] = defaultdict(list)
        """By place, and by kind; those in archives last."""
        for base in (Path(), *store.ARCHIVES):
            for path in filter(store.is_node, store.nodes(base)):
                place = store.NODE.fullmatch(path.relative_to(base).as_posix())[1]
                self._folders[place].append(path)
                self._folders[f"{KIND.match(place)[0]}/"].append(path)

    def earlier(self, node: Node) -> list[tuple[Path, dict[str, Any]]]:
        """The other versions of a node, with their records."""
        paths = [path for path in self._folders[node.place] if path.name != Path(node.folder).name]
        return [(path, record) for path in paths if (record := provenance.read(path)) is not None]

    def reasons(self, node: Node) -> list[str]:
        """Why a node is not there: what differs from the version of it that differs least, the latest of those."""
        versions = sorted((record for _, record in self.earlier(node)), key=provenance.latest, reverse=True)
        found = [[*self.params(node, each), *self.code(node, each), *self._inputs(node, each)] for each in versions]
        return min(found, key=len, default=[]) or ["never made, or removed"]

    def params(self, node: Node, record: dict[str, Any]) -> list[str]:
        """Which params differ from those of a record."""
        old, new = _flat(record["params"], ""), _flat(json.loads(json.dumps(node.params)), "")
        changed = {key: (_short(old.get(key)), _short(new.get(key))) for key in _changed(old, new)}
        return [f"params changed: {key}: {before} -> {now}" for key, (before, now) in changed.items()]

    def code(self, node: Node, record: dict[str, Any]) -> list[str]:
        """Which modules do not mean what they did when the record was written."""
        return [f"code changed: {name}" for name in _changed(record["code"], self.plan.code[node.code])]

    def _inputs(self, node: Node, record: dict[str, Any]) -> list[str]:
        old = {name: facts["key"] for name, facts in record["inputs"].items()}
        changed = _changed(old, {name: source.key for name, source in node.inputs.items()})
        now = {name: f"now {source.path}" for name, source in node.inputs.items()}
        return [f"input changed: {name} is {now.get(name, 'none any more')}" for name in changed]

    def like(self, kind: str) -> list[dict[str, Any]]:
        """The records of some nodes of a kind."""
        return [record for path in self._folders[f"{kind}/"][:SAMPLE] if (record := provenance.read(path))]

    def cost(self, node: Node) -> tuple[float, float] | None:
        """Mean seconds and bytes of nodes like one; None where there is none."""
        records = self.like(KIND.match(node.place)[0])
        seconds = sum(record.get("seconds", 0.0) for record in records)
        size = sum(file["size"] for record in records for file in record["files"].values())
        return (seconds / len(records), size / len(records)) if records else None


def _flat(params: Any, above: str) -> dict[str, Any]:
    """Params by dotted key."""
    if not isinstance(params, dict) or not params:
        return {above[:-1]: params}
    return {key: value for name in params for key, value in _flat(params[name], f"{above}{name}.").items()}


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The keys that have another value, or are in one of both only."""
    absent = object()
    return [key for key in sorted(before.keys() | now.keys()) if before.get(key, absent) != now.get(key, absent)]


def _short(value: Any) -> str:
    words = json.dumps(value)
    return words if len(words) <= 60 else f"{words[:57]}..."
