"""From params to nodes: which units of work there are, what each is made from, the params it may see, and its key.

A node's folder ends in its key, a digest of its rule, params, code and inputs: a folder that holds provenance.json is
fresh, and nothing else decides. Knows nothing of how a node is run (`node`) nor of what lies on disk (`keep`).
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dkd.datasets import catalog
from dkd.errors import InputError
from pipeline import ROOT, fingerprint

STAMP = "provenance.json"
FOLDERS = (
    "data/made",
    "data/index",
    "data/tasks",
    "checkpoints/base",
    "checkpoints/increment",
    "checkpoints/memory",
    "results",
    "panels",
    "summary",
    "report",
)
"""Where nodes lie; each is an output of one stage in dvc.yaml."""
ASSETS = ROOT / "src" / "dkd" / "report" / "assets"
"""Files that the page is made from besides code, which `fingerprint` does not read."""
PLANS = Path(".dkd/plans")
PLANS_KEPT = 20
ENV = "DKD_PLAN"


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

    def stamps(self, *rules: str) -> list[str]:
        """The files whose existence says that the nodes of `rules` are done."""
        return [f"{node.folder}/{STAMP}" for node in self.of(*rules)]

    def made_from(self, folder: str) -> list[str]:
        """The stamps of the nodes that the node of `folder` is made from.

        Raises InputError where the plan has no such node.
        """
        return [f"{source.path}/{STAMP}" for source in self.node(folder).inputs.values() if source.path in self.nodes]

    def node(self, folder: str) -> Node:
        """The node of a folder; InputError where the plan has none."""
        if folder not in self.nodes:
            raise InputError(f"{folder} is not what the current params, data and code ask for; start again")
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
    for run, content, method in zip(config.runs, contents, _told_apart(contents), strict=True):
        steps = dict(enumerate(builder.steps(content)))
        for step, made in steps.items():
            results[f"{run.name}/{step}"] = made.results
            shown |= {f"{run.name}/{step}/checkpoint": made.checkpoint, f"{run.name}/{step}/panels": made.panels}
        facts = {name: content[name] for name in ("name", "dataset", "setting", "seed", "order", "sizes")}
        runs.append({**facts, "method": method, "steps": list(steps), "protocol": content["evaluate"]["protocol"]})
    report = config.report.model_dump(mode="json")
    summary = builder.add("summary", "summary/report", {"runs": runs, **report}, results)
    assets = {path.name: fingerprint.file_digest(path) for path in sorted(ASSETS.iterdir())}
    builder.add(
        "page", "report/page", {"runs": runs, **report, "assets": assets}, {**results, **shown, "summary": summary}
    )
    return builder.plan


def _told_apart(runs: list[dict[str, Any]]) -> list[str]:
    """What tables call each run's method: its name and, where runs of one setting and method differ in more than seed
    and order, the values in which they do: "dkd[ac=0.0 start=random]".
    """
    alike: dict[tuple, list[dict[str, Any]]] = {}
    flat = []
    for run in runs:
        shared = {name: value for name, value in run.items() if name not in ("name", "seed", "order", "methods")}
        flat.append(dict(_leaves({**shared, "": run["methods"][run["method"]]})))
        alike.setdefault((run["dataset"], run["setting"], tuple(run["sizes"]), run["method"]), []).append(flat[-1])
    names = []
    for run, values in zip(runs, flat, strict=True):
        others = alike[run["dataset"], run["setting"], tuple(run["sizes"]), run["method"]]
        differ = [key for key in values if any(other.get(key) != values[key] for other in others)]
        told = " ".join(f"{key}={_word(values[key])}" for key in sorted(differ))
        names.append(f"{run['method']}[{told}]" if told else run["method"])
    return names


def _leaves(content: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{above}.{key}" if above and key else above or key
        if isinstance(value, dict):
            yield from _leaves(value, name)
        else:
            yield name, value


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


class Made(NamedTuple):
    """What there is of a step of a run."""

    checkpoint: Source
    results: Source
    panels: Source


class _Builder:
    """Adds the nodes of one run after the other; what two runs share is added once."""

    def __init__(self, runtime: dict[str, Any]):
        self.plan = Plan(runtime)
        self._code = fingerprint.Code()
        self._closures: dict[tuple[str, ...], str] = {}
        self._raw: dict[tuple[str, str], str] = {}

    def add(self, rule: str, place: str, params: dict[str, Any], inputs: dict[str, Source]) -> Source:
        """Add a node and return it as the input of others."""
        code = self._code_of(entries(rule, params))
        keys = {name: source.key for name, source in inputs.items()}
        key = fingerprint.digest({"rule": rule, "params": params, "code": code, "inputs": keys})[:12]
        node = Node(rule, place, params, inputs, code, key)
        return self.plan.nodes.setdefault(node.folder, node).source

    def _code_of(self, start: tuple[str, ...]) -> str:
        if start not in self._closures:
            modules = self._code.closure(start)
            self._closures[start] = fingerprint.digest(modules)
            self.plan.code[self._closures[start]] = modules
        return self._closures[start]

    def steps(self, run: dict[str, Any]) -> Iterator[Made]:
        """Add all nodes of a run; yield what there is of each of its steps."""
        data = self._data(run)
        index = self.add("index", f"data/index/{run['dataset']}", self._index_params(run), {"data": data})
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
            weights = {"weights": Source(file, fingerprint.file_digest(Path(file)))}
        checkpoint = self.add(
            "base",
            f"checkpoints/base/{run['dataset']}/{setting}/{first[0]}/s{seed}",
            {
                "dataset": run["dataset"],
                "classes": order[: first[0]],
                "seed": seed,
                "model": model,
                "recipe": {**run["train"], **run["base"]},
            },
            {**shared, "tasks": tasks, **weights},
        )
        place = f"{_plus(sizes)}/joint-s{seed}" if joint else f"{sizes[0]}/s{seed}"
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
                    f"checkpoints/memory/{scope}/{_plus(so_far)}/{who}",
                    {"step": step, "size": size, "confidence": confidence, "seed": seed},
                    {**shared, "tasks": tasks, "checkpoint": previous, **memory},
                )
                memory = {"memory": source}
            checkpoint = self.add(
                "increment",
                f"checkpoints/increment/{scope}/{_plus(so_far)}/{who}",
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
            results = self._evaluate(run, f"{scope}/{_plus(so_far)}/{who}", step, inputs)
            yield Made(checkpoint, results, self._panels(step, {**inputs, "previous": previous}))

    def _data(self, run: dict[str, Any]) -> Source:
        data = run["data"]
        if data["format"] == "shapes":
            return self.add("draw", f"data/made/{run['dataset']}", data["shapes"], {})
        where = (data["root"], data["format"])
        if where not in self._raw:
            self._raw[where] = fingerprint.raw(Path(data["root"]), catalog.PARTS[data["format"]])
        return Source(data["root"], self._raw[where])

    def _index_params(self, run: dict[str, Any]) -> dict[str, Any]:
        format = "folder" if run["data"]["format"] == "shapes" else run["data"]["format"]
        return {"dataset": run["dataset"], "format": format}

    def _split(self, run: dict[str, Any], index: Source, sizes: list[int]) -> Source:
        """The tasks of steps of `sizes`; the base has one of its own, which all scenarios with that base share."""
        place = f"data/tasks/{run['dataset']}/{run['setting']}/{_plus(sizes)}"
        params = {"setting": run["setting"], "order": run["order"][: sum(sizes)], "sizes": sizes}
        if run["setting"] == "partitioned":
            params["seed"] = run["data"]["partition_seed"]
        return self.add("split", place, params, {"index": index})

    def _evaluate(self, run: dict[str, Any], place: str, step: int, inputs: dict[str, Source]) -> Source:
        # Metrics hold all protocols; which one is the headline is the tables' business.
        judged = {name: value for name, value in run["evaluate"].items() if name != "protocol"}
        params = {"step": step, "base": run["sizes"][0], **judged}
        return self.add("evaluate", f"results/{place}", params, inputs)

    def _panels(self, step: int, inputs: dict[str, Source]) -> Source:
        """What a checkpoint makes of a few pictures; its place is that of the checkpoint."""
        place = inputs["checkpoint"].path.rsplit("-", 1)[0].split("/", 2)[2]
        return self.add("panels", f"panels/{place}", {"step": step}, inputs)


def _plus(sizes: Iterable[int]) -> str:
    return "+".join(map(str, sizes))


def freeze(plan: Plan) -> Path:
    """Write a plan for the jobs of this run and name it in the environment; they build none of their own.

    The file stays locked while this process lives, which tells other runs whose nodes are in use.
    """
    content = {"runtime": plan.runtime, "code": plan.code, "nodes": [asdict(node) for node in plan.nodes.values()]}
    path = PLANS / f"{fingerprint.digest(content)[:12]}.json"
    text = json.dumps(content)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        fingerprint.replace(path, text)
    path.touch()
    # Never closed: the lock ends with the process.
    fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_SH)
    with contextlib.suppress(FileNotFoundError):  # another run is dropping the same old plans
        for old in sorted(PLANS.glob("*.json"), key=lambda file: file.stat().st_mtime)[:-PLANS_KEPT]:
            if not _in_use(old):
                old.unlink()
    os.environ[ENV] = str(path)
    return path


def thaw(path: Path | None = None) -> Plan:
    """The plan of the run that this process belongs to (or that of `path`).

    Raises InputError where there is none.
    """
    name = path or os.environ.get(ENV)
    if not name:
        raise InputError(f"no run to belong to ({ENV} is not set): jobs are started by snakemake")
    try:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"the plan of this run, {name}, is gone; start again") from None
    plan = Plan(content["runtime"], code=content["code"])
    for facts in content["nodes"]:
        facts["inputs"] = {name: Source(*source) for name, source in facts["inputs"].items()}
        node = Node(**facts)
        plan.nodes[node.folder] = node
    return plan


def in_use() -> set[str]:
    """The folders of all nodes in the plans of runs that are alive."""
    return set().union(*(_folders(path) for path in PLANS.glob("*.json") if _in_use(path)))


@cache
def _folders(path: Path) -> frozenset[str]:
    # The name of a plan is the digest of its content: what was read stays true.
    return frozenset(thaw(path).nodes)


def drop(seconds: float) -> None:
    """Delete plans that are older than so many seconds, unless a live run holds them."""
    for path in PLANS.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > seconds and not _in_use(path):
                path.unlink()


def _in_use(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
