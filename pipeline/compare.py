"""Sets metrics and params of two revisions against each other, as git holds them; checks out and writes nothing.

A revision is what git calls so, or the name of an experiment of DVC.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import yaml

from dkd.config import read, yaml_file
from dkd.errors import InputError
from dkd.json_file import number
from dkd.report import statistics
from dkd.report.comparison import COMPARED
from dkd.report.method_labels import leaves
from pipeline import plan

HERE = "working tree"
SUMMARY, GROUPS, PARAMS = "metrics/summary.json", "metrics/groups.json", "params.yaml"
CODE = ("src/dkd", "pipeline")
EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)")
"""Where DVC keeps an experiment: under the commit that it started from, by its name."""
FEW = 5
"""Files of code that are named."""


class Revision(NamedTuple):
    """What a commit holds, or the working tree (`commit` None)."""

    name: str
    commit: str | None
    params: dict[str, Any]
    """By dotted key."""
    groups: dict[str, list[str]]
    """The runs of each group."""
    runs: dict[str, dict[str, float | None]]
    """The metrics of each run after its last step."""


def compare(first: str, second: str | None) -> dict[str, Any]:
    """What two revisions have, the first one's always first; `second` None: the working tree.

    Returns `revisions` (name and commit), `groups` (by name and metric the spread of `values`, and their `difference`),
    `params` that differ (by key), `only` (runs that the other lacks) and `code` (files that differ). Raises InputError
    where git does not know a revision, or it holds no metrics of a run.
    """
    _git("rev-parse", "--git-dir")
    both = [_read(first), _read(second)]
    groups = dict.fromkeys(name for each in both for name in each.groups)
    params = {key: [each.params.get(key) for each in both] for key in dict.fromkeys([*both[0].params, *both[1].params])}
    changed = _git("diff", "--name-only", "--relative", *(each.commit for each in both if each.commit), "--", *CODE)
    return {
        "revisions": [{"name": each.name, "commit": each.commit} for each in both],
        "groups": {name: {metric: _measure(both, name, metric) for metric in COMPARED} for name in groups},
        "params": {key: values for key, values in params.items() if values[0] != values[1]},
        "only": [[run for run in a.runs if run not in b.runs] for a, b in (both, both[::-1])],
        "code": changed.splitlines(),
    }


def doubt() -> str | None:
    """Why the metrics of the working tree may not be those of its params and code; None where they are.

    They are those of the last run, which may be older than an edit.
    """
    try:
        summary, page = plan.build(read.load(PARAMS), fresh=False).of("summary", "page")
    except InputError as error:
        return f"cannot tell whether metrics/ belongs to {PARAMS} as it is: {error}"
    made = Path(summary.folder, Path(SUMMARY).name)
    if Path(SUMMARY).with_name(f"provenance-{page.key}.json").exists() or (
        made.is_file() and made.read_bytes() == Path(SUMMARY).read_bytes()
    ):
        return None
    return f"metrics/ was not made with {PARAMS} and the code as they are in the {HERE} now; run the workflow first"


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    names = [each["name"] for each in found["revisions"]]
    width = max(18, *(len(name) + 2 for name in names))
    yield f"{'':12}{''.join(f'{name:>{width}}' for name in names)}  difference"
    for group, metrics in found["groups"].items():
        yield group
        for metric, entry in metrics.items():
            cells = "".join(f"{_spread(each):>{width}}" for each in entry["values"])
            yield f"  {metric:10}{cells}  {_difference(entry['difference'])}"
    yield "mean ± standard deviation (runs); mean difference of runs of the same name, with its 95% interval (pairs)"
    yield "params that differ:" if found["params"] else "params: the same"
    for key, values in found["params"].items():
        before, now = ("-" if value is None else json.dumps(value) for value in values)
        yield f"  {key}: {before} -> {now}"
    for name, runs in zip(names, found["only"], strict=True):
        yield from [f"only in {name}:", *(f"  {run}" for run in runs)] if runs else []
    if code := found["code"]:
        yield f"code that differs: {', '.join(code[:FEW])}{f' and {len(code) - FEW} more' if len(code) > FEW else ''}"


def _measure(both: list[Revision], group: str, metric: str) -> dict[str, Any]:
    """The spread of a metric over the runs of a group (None: has none), and its difference over those of both."""
    values = [{run: each.runs[run][metric] for run in each.groups.get(group, ())} for each in both]
    pairs = [(values[0][run], values[1].get(run)) for run in values[0]]
    change = [after - before for before, after in pairs if None not in (before, after)]
    spreads = [statistics.spread(list(each.values())) if each else None for each in values]
    if not change:
        return {"values": spreads, "difference": None}
    low, high = statistics.interval(change)
    difference = {"mean": fmean(change), "low": low, "high": high, "n": len(change), "same": not any(change)}
    return {"values": spreads, "difference": difference}


def _spread(found: dict[str, Any] | None) -> str:
    if found is None or found["mean"] is None:
        return "-"
    deviation = "" if found["sd"] is None else f" ± {found['sd']:.1f}"
    return f"{found['mean']:.1f}{deviation} ({found['n']})"


def _difference(found: dict[str, Any] | None) -> str:
    if found is None:
        return "no pairs"
    if found["same"]:
        return f"the same ({found['n']})"
    interval = "" if found["low"] is None else f" [{found['low']:+.1f}, {found['high']:+.1f}]"
    return f"{found['mean']:+.1f}{interval} ({found['n']})"


def _read(name: str | None) -> Revision:
    """Raises InputError where a revision is unknown, lacks a file, or has a faulty one."""
    commit, shown = None if name is None else _commit(name), HERE if name is None else name
    texts = {file: _text(commit, shown, file) for file in (SUMMARY, GROUPS, PARAMS)}
    try:
        params = yaml_file.parse(texts[PARAMS])
        runs = {run: {key: values[key] for key in COMPARED} for run, values in json.loads(texts[SUMMARY]).items()}
        groups = {group: list(values["runs"]) for group, values in json.loads(texts[GROUPS]).items()}
        measured = [value for names in groups.values() for run in names for value in runs[run].values()]
        if not all(value is None or number(-100, 100)(value) for value in measured):
            raise ValueError("a metric is not a percentage")
        return Revision(shown, commit, dict(leaves(_numbered(params), "")), groups, runs)
    except yaml.YAMLError as error:
        words = yaml_file.reason(error) if isinstance(error, yaml.MarkedYAMLError) else "not text"
        raise InputError(f"{shown}: {PARAMS}: not readable as YAML: {words}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{SUMMARY} and {GROUPS} are not those of a run"
        raise InputError(f"{shown}: {what} ({type(error).__name__}: {error}); make them again") from None


def _numbered(content: Any) -> Any:
    """The same with lists of maps as maps by number, from 1, so that each of their values has a key."""
    if isinstance(content, list) and any(isinstance(item, dict) for item in content):
        content = {str(place): item for place, item in enumerate(content, start=1)}
    return {key: _numbered(value) for key, value in content.items()} if isinstance(content, dict) else content


def _commit(name: str) -> str:
    """The commit that a name stands for: one of git's, or that of an experiment."""
    if commit := _ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"):
        return commit.strip()
    refs = _git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    found = [ref for ref in refs if (match := EXPERIMENT.fullmatch(ref)) and match[1] == name]
    if not found:
        raise InputError(f"{name}: neither a revision of git nor an experiment of DVC (`dvc exp list --all`)")
    if len(found) > 1:
        raise InputError(f"{name}: {len(found)} experiments have this name; write one of {', '.join(found)}")
    return _git("rev-parse", found[0]).strip()


def _text(commit: str | None, name: str, file: str) -> str:
    """A file of a revision."""
    if commit is not None:
        found = _ask("show", f"{commit}:./{file}")
    else:
        found = Path(file).read_text(encoding="utf-8") if Path(file).is_file() else None
    if found is None:
        raise InputError(f"{name}: has no {file}; a run writes metrics/, which is committed with params.yaml")
    return found


def _ask(*arguments: str) -> str | None:
    """What git prints; None where it refuses."""
    try:
        return _git(*arguments)
    except InputError:
        return None


def _git(*arguments: str) -> str:
    """What git prints. Raises InputError with its words where it refuses, or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise InputError("git is not installed, and revisions are read by it") from None
    if done.returncode:
        raise InputError(f"git: {done.stderr.strip().partition(chr(10))[0]}")
    return done.stdout
