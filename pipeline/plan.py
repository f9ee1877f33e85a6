"""From params to nodes: which units of work there are, what each is made from, the params it may see, and its key.

A node's folder ends in its key, a digest of its rule, params, code and inputs. Knows nothing of how a node is made
(`job`) nor of what lies on disk (`store`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from dkd.datasets import catalog
from dkd.errors import InputError
from dkd.report.method_labels import method_labels
from pipeline import ROOT, code_digest, raw_digest
from pipeline.rules import RULES

STAMP = "provenance.json"
"""The last file of every node."""
ASSETS = ROOT / "src" / "dkd" / "report" / "assets"
"""Files that the page is made from besides code."""
PLAIN_STEPS = 19
"""Most steps of a scenario whose folders list the size of each one."""
SCOPE_LENGTH = 60
"""Most characters of the name of a scenario with more steps."""


class Source(NamedTuple):
    """What a node is made from: the folder of another node, or the root of raw data; and the key of its content."""

    path: str
    key: str


@dataclass(frozen=True)
class Node:
    """A unit of work with one output folder."""

    rule: str
    place: str
    """The folder up to its key."""
    params: dict[str, Any]
    """All that the work may see besides its inputs and the runtime."""
    inputs: dict[str, Source]
    code: str
    """Digest of the code that the work runs."""
    key: str

    @property
    def folder(self) -> str:
        """Where the node's files lie, relative to the repository."""
        return f"{self.place}-{self.key}"

    @property
    def source(self) -> Source:
        """This node as an input of another."""
        return Source(self.folder, self.key)

    @property
    def label(self) -> str:
        """A few words for people: "dkd-s0 4+1", "base s0 4", "evaluate dkd-s0 4+1", "index shapes"."""
        *_, scope, who = self.place.split("/")
        if self.rule in ("base", "increment", "evaluate", "panels"):
            return f"{who} {scope}" if self.rule == "increment" else f"{self.rule} {who} {scope}"
        return f"{self.rule} {who}"


@dataclass
class Plan:
    """All nodes of the runs, each after those that it is made from."""

    runtime: dict[str, Any]
    nodes: dict[str, Node] = field(default_factory=dict)
    """By folder."""
    code: dict[str, dict[str, str]] = field(default_factory=dict)
    """Digest of code -> digest of each of its modules."""

    def of(self, *rules: str) -> list[Node]:
        """The nodes of some rules; of all, where none is given."""
        return [node for node in self.nodes.values() if not rules or node.rule in rules]

    def inputs(self, node: Node) -> list[Node]:
        """The nodes that a node is made from; raw data is none."""
        return [self.nodes[source.path] for source in node.inputs.values() if source.path in self.nodes]

    def node(self, folder: str) -> Node:
        """The node of a folder; InputError where the plan has none."""
        if folder not in self.nodes:
            raise InputError(
                f"{folder} is not part of the plan of the current params, data and code; "
                "`python -m pipeline status` lists the folders that are"
            )
        return self.nodes[folder]


def entries(rule: str, params: dict[str, Any]) -> tuple[str, ...]:
    """The modules where the code of a node begins."""
    stage = f"pipeline.stages.{rule}"
    if rule == "base":
        return stage, "dkd.methods.joint"
    if rule == "increment":
        return stage, f"dkd.methods.{params['method'].replace('-', '_')}"
    return (stage,)


def build(config: Any) -> Plan:
    """The plan of a resolved configuration (`dkd.config.Config`).

    Raises InputError where raw data is missing or code does not hold together.
    """
    builder = _Builder(config.runtime.model_dump(mode="json"))
    results: dict[str, Source] = {}
    shown: dict[str, Source] = {}
    runs = []
    contents = [run.model_dump(mode="json") for run in config.runs]
    for run, content, method in zip(config.runs, contents, method_labels(contents), strict=True):
        steps = dict(enumerate(builder.steps(content)))
        for step, made in steps.items():
            results[f"{run.name}/{step}"] = made.results
            shown |= {f"{run.name}/{step}/checkpoint": made.checkpoint, f"{run.name}/{step}/panels": made.panels}
        facts = {name: content[name] for name in ("name", "dataset", "setting", "seed", "order", "sizes")}
        runs.append({**facts, "method": method, "steps": list(steps), "protocol": content["evaluate"]["protocol"]})
    report = config.report.model_dump(mode="json")
    summary = builder.add("summary", "report", {"runs": runs, **report}, results)
    assets = {path.name: code_digest.file_digest(path) for path in sorted(ASSETS.iterdir())}
    builder.add("page", "page", {"runs": runs, **report, "assets": assets}, {**results, **shown, "summary": summary})
    return builder.plan


class Made(NamedTuple):
    """What there is of a step of a run."""

    checkpoint: Source
    results: Source
    panels: Source


class _Builder:
    """Adds the nodes of one run after the other; what two runs share is added once."""

    def __init__(self, runtime: dict[str, Any]):
        self.plan = Plan(runtime)
        self._code = code_digest.Code()
        self._closures: dict[tuple[str, ...], str] = {}
        self._raw: dict[tuple[str, str], str] = {}

    def add(self, rule: str, place: str, params: dict[str, Any], inputs: dict[str, Source]) -> Source:
        """Add a node and return it as the input of others."""
        code = self._code_of(entries(rule, params))
        keys = {name: source.key for name, source in inputs.items()}
        key = code_digest.digest({"rule": rule, "params": params, "code": code, "inputs": keys})[:12]
        node = Node(rule, f"{RULES[rule].folder}/{place}", params, inputs, code, key)
        return self.plan.nodes.setdefault(node.folder, node).source

    def _code_of(self, start: tuple[str, ...]) -> str:
        if start not in self._closures:
            modules = self._code.closure(start)
            self._closures[start] = code_digest.digest(modules)
            self.plan.code[self._closures[start]] = modules
        return self._closures[start]

    def steps(self, run: dict[str, Any]) -> Iterator[Made]:
        """Add all nodes of a run; yield what there is of each of its steps."""
        data = self._data(run)
        index = self.add("index", f"{run['dataset']}", self._index_params(run), {"data": data})
        scope = f"{run['dataset']}/{run['setting']}"
        order, sizes, seed = run["order"], run["sizes"], run["seed"]
        joint = run["method"] == "joint"
        first = [len(order)] if joint else sizes[:1]
        # The pictures of both are the same, and at the base so are the labels.
        setting = {"sequential": "disjoint"}.get(run["setting"], run["setting"])
        tasks = self._split({**run, "setting": setting}, index, first)
        shared = {"data": data, "index": index}
        model, weights = run["model"], {}
        if isinstance(file := model["pretrained"], str):
            # What the file holds counts, not where it lies.
            model = {**model, "pretrained": True}
            weights = {"weights": Source(file, code_digest.file_digest(Path(file)))}
        checkpoint = self.add(
            "base",
            f"{run['dataset']}/{setting}/{first[0]}/s{seed}",
            {
                "dataset": run["dataset"],
                "classes": order[: first[0]],
                "seed": seed,
                "model": model,
                "recipe": {**run["train"], **run["base"]},
            },
            {**shared, "tasks": tasks, **weights},
        )
        place = f"{_scope(sizes)}/joint-s{seed}" if joint else f"{sizes[0]}/s{seed}"
        judged = {**shared, "tasks": tasks, "checkpoint": checkpoint}
        results = self._evaluate(run, f"{run['dataset']}/{setting}/{place}", 0, judged)
        yield Made(checkpoint, results, self._panels(0, judged))
        if joint or len(sizes) == 1:
            return
        tasks = self._split(run, index, sizes)
        who = f"{run['method']}-s{seed}"
        options = dict(run["methods"][run["method"]])
        start, size = options.pop("start", "random"), options.pop("memory", None)
        confidence, replay = options.pop("confidence", None), options.pop("replay", None)
        memory: dict[str, Source] = {}
        for step in range(1, len(sizes)):
            previous, so_far = checkpoint, sizes[: step + 1]
            if size:
                source = self.add(
                    "memory",
                    f"{scope}/{_scope(so_far)}/{who}",
                    {"step": step, "size": size, "confidence": confidence, "seed": seed},
                    {**shared, "tasks": tasks, "checkpoint": previous, **memory},
                )
                memory = {"memory": source}
            checkpoint = self.add(
                "increment",
                f"{scope}/{_scope(so_far)}/{who}",
                {
                    "dataset": run["dataset"],
                    "step": step,
                    "sizes": so_far,
                    "order": order[: sum(so_far)],
                    "method": run["method"],
                    "start": start,
                    "weights": options,
                    **({"replay": replay} if size else {}),
                    "seed": seed,
                    "recipe": {**run["train"], **run["increment"]},
                },
                {**shared, "tasks": tasks, "previous": previous, **memory},
            )
            inputs = {**shared, "tasks": tasks, "checkpoint": checkpoint}
            results = self._evaluate(run, f"{scope}/{_scope(so_far)}/{who}", step, inputs)
            yield Made(checkpoint, results, self._panels(step, {**inputs, "previous": previous}))

    def _data(self, run: dict[str, Any]) -> Source:
        data = run["data"]
        if data["format"] == "shapes":
            return self.add("draw", f"{run['dataset']}", data["shapes"], {})
        where = (data["root"], data["format"])
        if where not in self._raw:
            self._raw[where] = raw_digest.of(Path(data["root"]), catalog.PARTS[data["format"]])
        return Source(data["root"], self._raw[where])

    def _index_params(self, run: dict[str, Any]) -> dict[str, Any]:
        format = "folder" if run["data"]["format"] == "shapes" else run["data"]["format"]
        return {"dataset": run["dataset"], "format": format}

    def _split(self, run: dict[str, Any], index: Source, sizes: list[int]) -> Source:
        """The tasks of steps of `sizes`; the base has one of its own, which all scenarios with that base share."""
        place = f"{run['dataset']}/{run['setting']}/{_scope(sizes)}"
        params = {"setting": run["setting"], "order": run["order"][: sum(sizes)], "sizes": sizes}
        if run["setting"] == "partitioned":
            params["seed"] = run["data"]["partition_seed"]
        return self.add("split", place, params, {"index": index})

    def _evaluate(self, run: dict[str, Any], place: str, step: int, inputs: dict[str, Source]) -> Source:
        # Metrics hold all protocols; which one is the headline is the tables' business.
        judged = {name: value for name, value in run["evaluate"].items() if name != "protocol"}
        params = {"step": step, "base": run["sizes"][0], **judged}
        return self.add("evaluate", place, params, inputs)

    def _panels(self, step: int, inputs: dict[str, Source]) -> Source:
        """What a checkpoint makes of a few pictures; its place is that of the checkpoint."""
        place = inputs["checkpoint"].path.rsplit("-", 1)[0].split("/", 2)[2]
        return self.add("panels", place, {"step": step}, inputs)


def _scope(sizes: Iterable[int]) -> str:
    """The sizes of steps as a folder's name: "4+1+1"; "100+1x20" and "10+1x8+...-3f2a9c1e" where there are many.

    Snakemake refuses names in which a piece is repeated 20 times, and file systems those of more than 255 bytes.
    """
    sizes = list(sizes)
    if len(sizes) <= PLAIN_STEPS:
        return "+".join(map(str, sizes))
    counts = [(size, len(list(equal))) for size, equal in groupby(sizes)]
    parts = [f"{size}x{count}" if count > 1 else str(size) for size, count in counts]
    name = "+".join(parts)
    if len(name) <= SCOPE_LENGTH:
        return name
    return f"{'+'.join(parts[:3])}+...{len(sizes)}-{code_digest.digest(sizes)[:8]}"
