"""From params to nodes: which units of work there are, what each is made from, the params it may see, and its key.

Knows nothing of how a node is made (`job`) nor of what lies on disk (`store`).
"""

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from dkd import scenario
from dkd.data import catalog
from dkd.data.tasks import base_setting
from dkd.errors import InputError
from dkd.files import digest as file_digest
from dkd.files import replacing
from dkd.methods import BASES, RATES, module_name, sort_options
from dkd.report.method_labels import method_labels
from dkd.training.recipe import of_step
from pipeline import ROOT, code_digest, raw_digest
from pipeline.rules import RULES

STAMP, FILE = "provenance.json", Path(".dkd/plan.json")
"""The last file of every node; the plan of the current run, which its jobs read in place of params.yaml."""
ASSETS = ROOT / "src" / "dkd" / "report" / "assets"
"""Files that the page is made from besides code."""


class Source(NamedTuple):
    """What a node is made from: the folder of another node (`made`), or raw data; and the key of its content."""

    path: str
    key: str
    made: bool


@dataclass(frozen=True)
class Node:
    """A unit of work with one output folder: `place` is that up to its key, `code` the digest of what it runs."""

    rule: str
    place: str
    params: dict[str, Any]
    inputs: dict[str, Source]
    code: str
    key: str

    @property
    def folder(self) -> str:
        """Where the node's files lie, relative to the repository."""
        return f"{self.place}-{self.key}"

    @property
    def stamp(self) -> str:
        """Its last file."""
        return f"{self.folder}/{STAMP}"

    @property
    def log(self) -> Path:
        """The log file of the job that makes it."""
        return Path("logs", f"{self.folder}.log")

    @property
    def label(self) -> str:
        """A few words for people: "dkd-s0 4+1", "base s0 4", "evaluate dkd-s0 4+1", "index shapes"."""
        *_, scope, who = self.place.split("/")
        words = [who] if self.rule == "increment" else [self.rule, who]
        return " ".join([*words, scope] if self.rule in ("base", "increment", "evaluate", "panels") else words)


@dataclass
class Plan:
    """All nodes of the runs by folder, each after those that it is made from, and what the user requests of this run.

    `code` has the digest of each module, by the digest of all modules of a node; `redo` the folders to make again;
    `verify` the rules whose existing nodes are read byte by byte. `requests` has what jobs of each rule ask a scheduler
    for, which then hands out GPUs; it is empty where they run on this machine.
    """

    runtime: dict[str, Any]
    nodes: dict[str, Node] = field(default_factory=dict)
    code: dict[str, dict[str, str]] = field(default_factory=dict)
    redo: list[str] = field(default_factory=list)
    verify: list[str] = field(default_factory=list)
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, *rules: str) -> list[Node]:
        """The nodes of some rules; of all, where none is given."""
        return [node for node in self.nodes.values() if not rules or node.rule in rules]

    def processes(self, rule: str) -> int:
        """How many processes a job of a rule has."""
        return self.runtime["processes"] if RULES[rule].shared else 1

    def inputs(self, node: Node) -> list[Node]:
        """The nodes that a node is made from; raw data is none."""
        return [self.nodes[source.path] for source in node.inputs.values() if source.made]

    def node(self, folder: str) -> Node:
        """The node of a folder; InputError where the plan has none."""
        if folder not in self.nodes:
            what = "is not part of the plan of the current params, data and code"
            raise InputError(f"{folder} {what}; `python -m pipeline status` lists the folders that are")
        return self.nodes[folder]

    def save(self) -> None:
        """Leave the plan for the jobs of the run, which holds the lock: what they share, then one line per node."""
        with replacing(FILE) as path, path.open("w", encoding="utf-8") as file:
            file.write(json.dumps({**vars(self), "nodes": {}}))
            file.writelines(f"\n{folder}\t{json.dumps(vars(node))}" for folder, node in self.nodes.items())


def load(folder: str) -> Plan:
    """The plan of the current run, or of the last one, with one node of it; with none where it has no such folder.

    A job does not read the other nodes, which may be many. Raises InputError where there was no run.
    """
    try:
        with FILE.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            plan = Plan(**json.loads(text.readline()))
            start = f"\n{folder}\t".encode()
            if (place := text.find(start, 0)) >= 0:
                text.seek(place + len(start))
                facts = json.loads(text.readline())
                inputs = {name: Source(*source) for name, source in facts["inputs"].items()}
                plan.nodes[folder] = Node(**{**facts, "inputs": inputs})
    except (OSError, ValueError, TypeError):
        raise InputError(f"{FILE} is not readable: jobs are started by snakemake, without --no-hooks") from None
    return plan


def entries(rule: str, params: dict[str, Any]) -> tuple[str, ...]:
    """The modules where the code of a node begins."""
    method = {"base": BASES[params.get("head", "sigmoid")], "increment": params.get("method", "")}.get(rule)
    return (f"pipeline.stages.{rule}", *([module_name(method)] if method else []))


def build(config: Any, fresh: bool) -> Plan:
    """The plan of a `dkd.config.schema.Config`; `fresh` rereads raw data. InputError where data or code is faulty."""
    builder = _Builder(config.runtime.model_dump(mode="json"), fresh)
    results, shown, runs = {}, {}, []
    contents = [run.model_dump(mode="json") for run in config.runs]
    for resolved, run, method in zip(config.runs, contents, method_labels(contents), strict=True):
        name, numbers = run["name"], []
        for step, (checkpoint, result, panels) in enumerate(builder.steps({**run, "head": resolved.head})):
            results[f"{name}/{step}"] = result
            shown |= {f"{name}/{step}/checkpoint": checkpoint, f"{name}/{step}/panels": panels}
            numbers.append(step)
        facts = {each: run[each] for each in ("name", "dataset", "setting", "seed", "order", "sizes")}
        runs.append({**facts, "method": method, "steps": numbers, "protocol": run["evaluate"]["protocol"]})
    params = {"runs": runs, **config.report.model_dump(mode="json")}
    summary = builder.add("summary", "report", params, results)
    assets = {path.name: file_digest(path) for path in sorted(ASSETS.iterdir())}
    builder.add("page", "page", {**params, "assets": assets}, {**results, **shown, "summary": summary})
    return builder.plan


class _Builder:
    """Adds the nodes of one run after the other; what two runs share is added once."""

    def __init__(self, runtime: dict[str, Any], fresh: bool):
        self.plan = Plan(runtime)
        self._code_of, self._raw = cache(self._closure), cache(partial(raw_digest.of, fresh=fresh))
        self._code = code_digest.Code(ROOT)

    def _closure(self, *start: str) -> str:
        modules = self._code.closure(start)
        self.plan.code[digest := code_digest.digest(modules)] = modules
        return digest

    def add(self, rule: str, place: str, params: dict[str, Any], inputs: dict[str, Source]) -> Source:
        """Add a node and return it as the input of others."""
        code = self._code_of(*entries(rule, params))
        keys = {name: source.key for name, source in inputs.items()}
        key = code_digest.digest({"rule": rule, "params": params, "code": code, "inputs": keys})[:12]
        node = Node(rule, f"{RULES[rule].folder}/{place}", params, inputs, code, key)
        self.plan.nodes.setdefault(node.folder, node)
        return Source(node.folder, key, made=True)

    def steps(self, run: dict[str, Any]) -> Iterator[tuple[Source, Source, Source]]:
        """Add all nodes of a run; yield of each of its steps the checkpoint, the evaluation and the panels."""
        order, sizes, seed, joint = run["order"], run["sizes"], run["seed"], run["method"] in BASES.values()
        data, format = self._data(run["dataset"], run["data"])
        params = {"dataset": run["dataset"], "format": format, **catalog.index_params(run["data"], order)}
        index = self.add("index", run["dataset"], params, {"data": data})
        shared = {"data": data, "index": index}
        first = [len(order)] if joint else sizes[:1]
        # The pictures of both are the same, and at the base so are the labels.
        setting = base_setting(run["setting"])
        shared["tasks"] = self._split({**run, "setting": setting}, index, first)
        model, weights = run["model"], {}
        if isinstance(file := model["pretrained"], str):
            # What the file holds counts, not where it lies.
            model = {**model, "pretrained": True}
            weights = {"weights": Source(file, file_digest(Path(file)), made=False)}
        params = {"dataset": run["dataset"], "classes": order[: first[0]], "seed": seed, "model": model}
        params["recipe"] = of_step(run, 0)
        params |= {"head": run["head"]} if run["head"] != "sigmoid" else {}
        own = f"{run['head']}-s{seed}" if "head" in params else f"s{seed}"
        scope = f"{run['dataset']}/{setting}"
        base = self.add("base", f"{scope}/{first[0]}/{own}", params, {**shared, **weights})
        place = f"{scenario.folder_name(sizes)}/{run['method']}-s{seed}" if joint else f"{sizes[0]}/{own}"
        yield self._evaluated(run, f"{scope}/{place}", 0, {**shared, "checkpoint": base})
        if not joint and len(sizes) > 1:
            yield from self._increments(run, {**shared, "tasks": self._split(run, index, sizes)}, base)

    def _increments(self, run: dict[str, Any], shared: dict[str, Source], checkpoint: Source) -> Iterator[tuple]:
        order, sizes, seed = run["order"], run["sizes"], run["seed"]
        options = sort_options(run["methods"][run["method"]])
        memory: dict[str, Source] = {}
        for step in range(1, len(sizes)):
            previous, so_far = checkpoint, sizes[: step + 1]
            place = f"{run['dataset']}/{run['setting']}/{scenario.folder_name(so_far)}/{run['method']}-s{seed}"
            if options.memory:
                params = {"step": step, "size": options.memory, "confidence": options.confidence, "seed": seed}
                memory = {"memory": self.add("memory", place, params, {**shared, "checkpoint": previous, **memory})}
            params = {"dataset": run["dataset"], "step": step, "sizes": so_far, "order": order[: sum(so_far)]}
            params |= {"method": run["method"], "start": options.head_init, "weights": options.loss, "seed": seed}
            params |= {"recipe": of_step(run, step)}
            params |= {"replay": options.replay} if options.memory else {}
            params |= {name: value for name, value in run["methods"][run["method"]].items() if name in RATES}
            params |= {"train_norms": True} if options.train_norms else {}
            checkpoint = self.add("increment", place, params, {**shared, "previous": previous, **memory})
            yield self._evaluated(run, place, step, {**shared, "checkpoint": checkpoint}, previous=previous)

    def _evaluated(self, run: dict, place: str, step: int, inputs: dict[str, Source], **previous: Source) -> tuple:
        # Metrics hold all protocols; which one is the headline is the tables' business.
        given = {name: value for name, value in run["evaluate"].items() if name != "protocol"}
        result = self.add("evaluate", place, {"step": step, "base": run["sizes"][0], **given}, inputs)
        # What a checkpoint makes of a few pictures lies where the checkpoint does.
        place = self.plan.nodes[inputs["checkpoint"].path].place.split("/", 2)[2]
        return inputs["checkpoint"], result, self.add("panels", place, {"step": step}, {**inputs, **previous})

    def _data(self, name: str, data: dict[str, Any]) -> tuple[Source, str]:
        """A data set, and its format."""
        if data["format"] == "shapes":
            return self.add("draw", name, data["shapes"], {}), "folder"
        parts = catalog.parts(data["format"], root := Path(data["root"]))
        return Source(data["root"], self._raw(root, parts), made=False), data["format"]

    def _split(self, run: dict[str, Any], index: Source, sizes: list[int]) -> Source:
        """The tasks of steps of `sizes`; the base has one of its own, which all scenarios with that base share."""
        params = {"setting": run["setting"], "order": run["order"][: sum(sizes)], "sizes": sizes}
        if run["setting"] == "partitioned":
            params["seed"] = run["data"]["partition_seed"]
        return self.add(
            "split", f"{run['dataset']}/{run['setting']}/{scenario.folder_name(sizes)}", params, {"index": index}
        )
