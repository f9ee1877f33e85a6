"""How the plan stands on disk, in words: which nodes are there, why each other one will be made, what that will cost.

Changes nothing. A missing node is compared with the earlier version of it (a folder at the same place, here or in an
archive) that differs least. Costs are the mean of what nodes of the same rule and data set recorded: an estimate.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import humanfriendly
from humanfriendly.text import pluralize

from pipeline import dvc, provenance, states, store
from pipeline.plan import Node, Plan
from pipeline.rules import RULES

SHOWN, SAMPLE = 5, 20
"""How many reasons of a node are shown, and how many nodes an estimate is the mean of, at most."""


class Cost(NamedTuple):
    """Work of the next run: seconds one after the other, bytes on disk; `unknown` nodes are not in them."""

    seconds: float
    bytes: int
    unknown: int


class Status:
    """What lies on disk when this is made, against a plan."""

    def __init__(self, plan: Plan):
        self.plan, self.past = plan, Past(plan)
        self.states = states.find(plan)
        self.to_make = [node for node in plan.of() if self.states[node.folder].name in states.TO_MAKE]

    def reasons(self, folder: str) -> list[str]:
        """Why a node will be made, or looked at again."""
        name, reason = self.states[folder]
        if name == "missing":
            return self.past.reasons(self.plan.node(folder))
        return [f"{name}: {reason}"] if reason else []

    def count(self, *names: str) -> int:
        """How many nodes are in one of some states."""
        return sum(state.name in names for state in self.states.values())

    def cost(self) -> Cost:
        """What making nodes is likely to cost."""
        found = [self.past.cost(node) for node in self.to_make]
        known = [cost for cost in found if cost is not None]
        seconds, size = sum(cost[0] for cost in known), sum(cost[1] for cost in known)
        return Cost(round(seconds, 1), round(size), len(found) - len(known))

    def lines(self) -> Iterator[str]:
        """All of it in words."""
        for folder, state in self.states.items():
            yield f"{state.name:<8} {folder}"
            reasons = self.reasons(folder)
            yield from (f"         {reason}" for reason in reasons[:SHOWN])
            if len(reasons) > SHOWN:
                yield f"         and {len(reasons) - SHOWN} more differences"
        archived = f", {self.count('archived')} more in the archive" if self.count("archived") else ""
        yield f"{self.count('present')} of {len(self.states)} nodes present{archived}"
        if not self.to_make:
            yield "the next run makes nothing"
            return
        number = Counter(node.rule for node in self.to_make)
        counts = ", ".join(f"{number[rule]} {rule}" for rule in RULES if number[rule])
        again = f", and looks at {self.count('open')} that depend on them" if self.count("open") else ""
        yield f"the next run makes {pluralize(len(self.to_make), 'node')}: {counts}{again}"
        if hint := dvc.recorded(self.plan):
            yield hint
        if (cost := self.cost()).unknown == len(self.to_make):
            yield "what that costs is unknown: nothing like it was made here"
        else:
            time, size = humanfriendly.format_timespan(round(cost.seconds)), humanfriendly.format_size(cost.bytes)
            rest = f"; unknown for {cost.unknown} nodes" if cost.unknown else ""
            yield f"about {time} of work and {size}, estimated from like nodes{rest}"

    def content(self) -> dict[str, Any]:
        """All of it for programs."""
        nodes = [
            {"folder": node.folder, "rule": node.rule, "state": self.states[node.folder].name}
            | {"reasons": self.reasons(node.folder)}
            for node in self.plan.of()
        ]
        counts = {"present": self.count("present"), "archived": self.count("archived"), "to_make": len(self.to_make)}
        return {"nodes": nodes, **counts, "estimate": self.cost()._asdict()}


class Past:
    """The nodes that lie here and in archives, whatever plan they are of, and what can be learned from them."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._read, self._mean = cache(provenance.read), cache(self._mean_cost)

    @cached_property
    def _folders(self) -> dict[str, list[Path]]:
        """By place, and by rule and data set; those in archives last."""
        found = defaultdict(list)
        for base in (Path(), *store.ARCHIVES):
            for path in filter(store.is_node, store.nodes(base)):
                place = store.NODE.fullmatch(path.relative_to(base).as_posix())[1]
                found[place].append(path)
                found[_kind(place)].append(path)
        return found

    def earlier(self, node: Node) -> list[tuple[Path, dict[str, Any]]]:
        """The other versions of a node, with their records."""
        paths = [path for path in self._folders[node.place] if path.name != Path(node.folder).name]
        return [(path, record) for path in paths if (record := self._read(path)) is not None]

    def reasons(self, node: Node) -> list[str]:
        """Why a node is not there: what differs from the version of it that differs least, the latest of those."""
        versions = sorted((record for _, record in self.earlier(node)), key=provenance.latest, reverse=True)
        found = [[*self.params(node, each), *self.code(node, each), *self.inputs(node, each)] for each in versions]
        return min(found, key=len, default=[]) or ["never made, or removed"]

    def params(self, node: Node, record: dict[str, Any]) -> list[str]:
        """Which params differ from those of a record."""
        old, new = _flat(record["params"]), _flat(node.params)
        return [
            f"params changed: {key}: {_short(old.get(key))} -> {_short(new.get(key))}" for key in _changed(old, new)
        ]

    def code(self, node: Node, record: dict[str, Any]) -> list[str]:
        """Which modules do not mean what they did when the record was written."""
        return [f"code changed: {name}" for name in _changed(record["code"], self.plan.code[node.code])]

    def inputs(self, node: Node, record: dict[str, Any]) -> list[str]:
        """Which inputs have another key."""
        old = {name: facts["key"] for name, facts in record["inputs"].items()}
        changed = _changed(old, {name: source.key for name, source in node.inputs.items()})
        now = {name: f"now {source.path}" for name, source in node.inputs.items()}
        return [f"input changed: {name} is {now.get(name, 'none any more')}" for name in changed]

    def cost(self, node: Node) -> tuple[float, float] | None:
        """Mean seconds and bytes of nodes like one; None where there is none."""
        return self._mean(_kind(node.place))

    def _mean_cost(self, kind: str) -> tuple[float, float] | None:
        records = [record for path in self._folders[kind][:SAMPLE] if (record := self._read(path))]
        sizes = [sum(file["size"] for file in record["files"].values()) for record in records]
        seconds = [record.get("seconds", 0.0) for record in records]
        return (sum(seconds) / len(records), sum(sizes) / len(records)) if records else None


def _kind(place: str) -> str:
    """The rule's folder and the data set that are in a place."""
    [top] = [rule.folder for rule in RULES.values() if place.startswith(f"{rule.folder}/")]
    return f"{top}/{place.removeprefix(f'{top}/').split('/')[0]}/"


def _flat(params: Any, above: str = "") -> dict[str, Any]:
    """Params by dotted key, as JSON holds them."""
    if not isinstance(params, dict) or not params:
        return {above: json.loads(json.dumps(params))}
    parts = [_flat(part, f"{above}.{name}" if above else name) for name, part in params.items()]
    return {key: value for part in parts for key, value in part.items()}


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The keys that have another value, or are in one of both only."""
    absent = object()
    return [key for key in sorted(before.keys() | now.keys()) if before.get(key, absent) != now.get(key, absent)]


def _short(value: Any) -> str:
    words = json.dumps(value)
    return words if len(words) <= 60 else f"{words[:57]}..."
