"""Keeps nodes under new keys after an edit of the code that does not change results, on the user's word.

A missing node adopts an earlier version of itself that differs from it in code alone: same params, and inputs that are
the same or were adopted themselves. The earlier folder stays; the new one shares its files by hard links where the disk
can. Provenance keeps the record of the work and says under `adopted` what it was called before.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import provenance, store
from pipeline.plan import STAMP, Node, Plan
from pipeline.status import Past, sentence


class Outcome(NamedTuple):
    """What became of a missing node that has an earlier version: adopted, or refused for `reasons`."""

    node: Node
    old: Path
    adopted: bool
    reasons: list[str]


def adopt(plan: Plan, now: str) -> Iterator[Outcome]:
    """Adopt what can be, inputs before what was made from them; `now` is the time that is recorded."""
    past = Past(plan)
    for node in plan.nodes.values():
        # What lies in the archive under its present key is restored when it is needed.
        if store.find(node.folder) is None and (versions := past.earlier(node)):
            yield _adopt(plan, past, node, versions, now)


def _adopt(plan: Plan, past: Past, node: Node, versions: list[tuple[Path, dict]], now: str) -> Outcome:
    """Adopt the version made last; those in their place were in use until now and go before archived ones."""
    versions = sorted(versions, key=lambda each: provenance.latest(each[1]), reverse=True)
    versions.sort(key=lambda each: each[0].parts[0] == ".dkd")
    refusals = []
    for folder, record in versions:
        obstacles = _obstacles(plan, past, node, record)
        if not obstacles and provenance.damage(folder, record["key"], verify=True):
            obstacles = ["its files are not those that were written"]
        if not obstacles:
            _take_over(plan, past, node, folder, record, now)
            reasons = [sentence(reason) for reason in past.code_differences(node, record)]
            return Outcome(node, folder, True, reasons)
        refusals.append(Outcome(node, folder, False, obstacles))
    return min(refusals, key=lambda outcome: len(outcome.reasons))


def _obstacles(plan: Plan, past: Past, node: Node, record: dict[str, Any]) -> list[str]:
    """What differs besides code."""
    found = [each for each in past.differences(node, record) if each["why"] != "code changed"]
    words = [sentence(each) for each in found if each["why"] == "params changed"]
    words += [sentence(each) for each in found if each["why"] == "input changed" and each["input"] not in node.inputs]
    for name, source in node.inputs.items():
        was = record["inputs"].get(name)
        if source.path not in plan.nodes:
            same = was is not None and was["key"] == source.key
        else:
            same = was is not None and (was["key"], was["digest"]) in _names(provenance.read(store.at(source.path)))
        if not same:
            words.append(f"input changed: {name} ({source.path})")
    return words


def _names(record: dict[str, Any] | None) -> set[tuple[str, str]]:
    """Key and digest of a node, now and before each adoption."""
    return {(each["key"], each["digest"]) for each in [record, *record.get("adopted", [])]} if record else set()


def _take_over(plan: Plan, past: Past, node: Node, folder: Path, record: dict[str, Any], now: str) -> None:
    """Put the content of an earlier version into the place of a node."""
    scratch = store.SCRATCH / store.slug(node.folder)
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        shutil.copytree(folder, scratch, copy_function=_link, ignore=shutil.ignore_patterns(STAMP))
        before = {name: record[name] for name in ("key", "digest", "code")}
        changed = {"key": node.key, "inputs": provenance.inputs(plan, node), **past.code(node)}
        adopted = [*record.get("adopted", []), {**before, "when": now}]
        provenance.write(scratch, {**record, **changed, "adopted": adopted})
        store.put(scratch, Path(node.folder))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
