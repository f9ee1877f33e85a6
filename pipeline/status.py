"""How the plan stands on disk, in words: which nodes are there, why each other one will be made, what that will cost.

Changes nothing. A missing node is compared with the earlier version of it (a folder at the same place, here or in the
archive) that differs least. Costs are those that like nodes recorded: an estimate, none where there is no like node.
"""

import configparser
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import humanfriendly
import yaml

from pipeline import code_digest, provenance, states, store
from pipeline.plan import STAMP, Node, Plan
from pipeline.rules import FOLDERS, RULES

SHOWN, SAMPLE = 5, 20
"""How many reasons of a node are shown, and how many like nodes an estimate is the mean of, at most."""


class Cost(NamedTuple):
    """Work of the next run: seconds one after the other, bytes on disk; `unknown` nodes are not in them."""

    seconds: float
    bytes: int
    unknown: int


class Status:
    """What lies on disk when this is made, against a plan. With `verify` every file of every node is read."""

    def __init__(self, plan: Plan, verify: bool = False):
        self.plan = plan
        self.past = Past(plan)
        self.states = states.find(plan, verify=RULES if verify else ())
        self.reasons = {folder: self._reasons(folder, state) for folder, state in self.states.items()}

    def _reasons(self, folder: str, state: states.State) -> list[dict[str, Any]]:
        if state.name == "missing":
            return self.past.reasons(self.plan.node(folder))
        return [{"why": state.name, "what": state.reason}] if state.reason else []

    def count(self, *names: str) -> int:
        """How many nodes are in one of some states."""
        return sum(state.name in names for state in self.states.values())

    def to_make(self) -> list[Node]:
        """The nodes that the next run makes."""
        return [self.plan.node(folder) for folder, state in self.states.items() if state.name in states.TO_MAKE]

    def cost(self) -> Cost:
        """What making them is likely to cost."""
        found = [self.past.cost(node) for node in self.to_make()]
        known = [cost for cost in found if cost is not None]
        seconds, size = sum(cost[0] for cost in known), sum(cost[1] for cost in known)
        return Cost(round(seconds, 1), round(size), len(found) - len(known))

    def lines(self) -> Iterator[str]:
        """All of it in words."""
        for folder, state in self.states.items():
            reasons = self.reasons[folder]
            yield f"{state.name:<8} {folder}"
            yield from (f"         {sentence(reason)}" for reason in reasons[:SHOWN])
            if len(reasons) > SHOWN:
                yield f"         and {len(reasons) - SHOWN} more differences"
        archived = f", {self.count('archived')} more in the archive" if self.count("archived") else ""
        yield f"{self.count('present')} of {len(self.states)} nodes present{archived}"
        if not (nodes := self.to_make()):
            yield "the next run makes nothing"
            return
        number = Counter(node.rule for node in nodes)
        counts = ", ".join(f"{number[rule]} {rule}" for rule in RULES if number[rule])
        again = f", and checks {self.count('open')} that were made from them" if self.count("open") else ""
        yield f"the next run makes {len(nodes)} nodes: {counts}{again}"
        if hint := in_dvc_cache(self.plan):
            yield hint
        cost = self.cost()
        if cost.unknown < len(nodes):
            time, size = humanfriendly.format_timespan(round(cost.seconds)), humanfriendly.format_size(cost.bytes)
            rest = f"; unknown for {cost.unknown} nodes" if cost.unknown else ""
            yield f"about {time} of work and {size}, estimated from like nodes{rest}"
        else:
            yield "what that costs is unknown: nothing like it was made here"

    def content(self) -> dict[str, Any]:
        """All of it for programs."""
        rules = {folder: node.rule for folder, node in self.plan.nodes.items()}
        nodes = [
            {"folder": folder, "rule": rules[folder], "state": state.name, "reasons": self.reasons[folder]}
            for folder, state in self.states.items()
        ]
        counts = {"present": self.count("present"), "archived": self.count("archived"), "to_make": len(self.to_make())}
        return {"nodes": nodes, **counts, "estimate": self.cost()._asdict()}


def in_dvc_cache(plan: Plan) -> str | None:
    """What to do where nodes that are missing are recorded in dvc.lock; None where there are no such nodes."""
    missing = {node.folder for node in plan.of() if store.find(node.folder) is None}
    try:
        stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"].values()
        outs = [out for stage in stages for out in stage.get("outs", []) if out["path"] in FOLDERS]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None
    here = elsewhere = 0
    for out in outs if missing else ():
        try:
            files = json.loads(_cached(out["md5"]).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError):
            elsewhere += any(folder.startswith(f"{out['path']}/") for folder in missing)
            continue
        for file in files:
            folder, _, name = f"{out['path']}/{file['relpath']}".rpartition("/")
            if name == STAMP and folder in missing:
                here += _cached(file["md5"]).exists()
                elsewhere += not _cached(file["md5"]).exists()
    if here:
        return f"`dvc checkout` brings {here} of {len(missing)} missing nodes back"
    return "dvc.lock records results that are not here: `dvc pull` may bring them" if elsewhere else None


def _cached(md5: str) -> Path:
    """Where DVC's cache holds a file."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read([".dvc/config", ".dvc/config.local"], encoding="utf-8")
    root = Path(".dvc", config.get("cache", "dir", fallback="cache"))
    return root / "files" / "md5" / md5[:2] / md5[2:]


class Past:
    """The nodes that lie here and in the archive, whatever plan they are of, and what can be learned from them."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._code = code_digest.Code()
        self._read = cache(provenance.read)
        self._mean = cache(self._mean_cost)

    def at(self, place: str) -> list[Path]:
        """The folders at a place (or of all places below it), those in the archive last."""
        return self._places.get(place, [])

    @cached_property
    def _places(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for base in (Path(), *store.ARCHIVES):
            for path in filter(store.is_node, store.nodes(base)):
                for key in _likeness(store.NODE.fullmatch(path.relative_to(base).as_posix())[1]):
                    found[key].append(path)
        return found

    def earlier(self, node: Node) -> list[tuple[Path, dict[str, Any]]]:
        """The other versions of a node, with their records."""
        found = [(path, self._read(path)) for path in self.at(node.place) if path.name != Path(node.folder).name]
        return [(path, record) for path, record in found if record is not None]

    def reasons(self, node: Node) -> list[dict[str, Any]]:
        """Why a node is not there: what differs from the version of it that differs least, the latest of those."""
        versions = sorted((record for _, record in self.earlier(node)), key=provenance.latest, reverse=True)
        found = min((self.differences(node, record) for record in versions), key=len, default=None)
        return found or [{"why": "never made"}]

    def differences(self, node: Node, record: dict[str, Any]) -> list[dict[str, Any]]:
        """What in params, code and inputs a node does not share with the record of an earlier version."""
        old, new = _flat(record["params"]), _flat(node.params)
        keys = {name: facts["key"] for name, facts in record["inputs"].items()}
        inputs = _changed(keys, {name: source.key for name, source in node.inputs.items()})
        paths = {name: node.inputs[name].path if name in node.inputs else None for name in inputs}
        return [
            *({"why": "params changed", "key": k, "old": old.get(k), "new": new.get(k)} for k in _changed(old, new)),
            *self.code_differences(node, record),
            *({"why": "input changed", "input": name, "path": path} for name, path in paths.items()),
        ]

    def code_differences(self, node: Node, record: dict[str, Any]) -> list[dict[str, Any]]:
        """The modules, and of each what it defines, that do not mean what they did when `record` was written."""
        old, new = record["code"], self.plan.code[node.code]
        before, names = record.get("definitions", {}), _changed(old, new)
        now = self._code.definitions(name for name in names if name in new)
        changed = {name: _changed(before.get(name, {}), now.get(name, {})) for name in names}
        return [{"why": "code changed", "module": name, "definitions": each} for name, each in changed.items()]

    def code(self, node: Node) -> dict[str, Any]:
        """What provenance.json says of a node's code."""
        modules = self.plan.code[node.code]
        return {"code": modules, "definitions": self._code.definitions(modules)}

    def cost(self, node: Node) -> tuple[float, float] | None:
        """Mean seconds and bytes of the nodes most like one; None where none is like it."""
        return next((self._mean(key) for key in _likeness(node.place) if self.at(key)), None)

    def _mean_cost(self, key: str) -> tuple[float, float] | None:
        records = [record for path in self.at(key)[:SAMPLE] if (record := self._read(path))]
        if not records:
            return None
        sizes = [sum(file["size"] for file in record["files"].values()) for record in records]
        return sum(record.get("seconds", 0.0) for record in records) / len(records), sum(sizes) / len(sizes)


def _likeness(place: str) -> list[str]:
    """A place, the same with any seed, then ever wider, up to its data set: whom a node is like, most first."""
    [top] = [top for top in FOLDERS if place.startswith(f"{top}/")]
    keys = [place, re.sub(r"s\d+$", "s*", place)]
    while (place := place.rpartition("/")[0]) != top:
        keys.append(place)
    return list(dict.fromkeys(keys))


def _flat(params: Any, above: str = "") -> dict[str, Any]:
    """Params by dotted key, as JSON holds them."""
    if not isinstance(params, dict) or not params:
        return {above: json.loads(json.dumps(params))}
    return {
        key: value
        for name, part in params.items()
        for key, value in _flat(part, f"{above}.{name}" if above else name).items()
    }


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The keys that have another value, or are in one of both only."""
    absent = object()
    return [key for key in sorted(before.keys() | now.keys()) if before.get(key, absent) != now.get(key, absent)]


def sentence(reason: dict[str, Any]) -> str:
    """One reason in words."""
    match reason:
        case {"why": "params changed", "key": key, "old": old, "new": new}:
            return f"params changed: {key}: {_short(old)} -> {_short(new)}"
        case {"why": "code changed", "module": module, "definitions": names}:
            return f"code changed: {module}: {', '.join(names) or 'the order of its statements'}"
        case {"why": "input changed", "input": name, "path": path}:
            return f"input changed: {name} is {'none any more' if path is None else f'now {path}'}"
        case {"why": "damaged" | "stale" | "open" as why, "what": what}:
            return f"{why}: {what}"
    return "never made, or removed"


def _short(value: Any) -> str:
    words = json.dumps(value)
    return words if len(words) <= 60 else f"{words[:57]}..."
