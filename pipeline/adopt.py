"""Keeps nodes under new keys after an edit of the code that does not change results, on the user's word.

A missing node adopts an earlier version of itself that differs from it in code alone: same params, and inputs that are
the same or were adopted themselves. The earlier folder stays; the new one shares its files by hard links where the disk
can. Provenance keeps the record of the work and says under `adopted` what it was called before.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import provenance, store
from pipeline.plan import STAMP, Node, Plan
from pipeline.status import Past


def adopt(plan: Plan, now: str) -> Iterator[tuple[str, str, Path, list[str]]]:
    """Adopt what can be, inputs before what was made from them; `now` is the time that is recorded.

    Of several versions the one made last is taken, archived ones after those that were in use until now. Yields of each
    missing node that has any "adopted" or "refused", its folder, that of the version, and what differs.
    """
    past = Past(plan)
    for node in plan.nodes.values():
        # What lies in an archive under its present key is restored when it is needed.
        versions = past.earlier(node) if store.find(node.folder) is None else []
        versions.sort(key=lambda each: (each[0].parts[0] != ".dkd", provenance.latest(each[1])), reverse=True)
        outcomes = []
        for folder, record in versions:
            obstacles = [*past.params(node, record), *_other_inputs(node, record)]
            if not obstacles and provenance.damage(folder, record["key"], verify=True):
                obstacles = ["its files are not those that were written"]
            if not obstacles:
                _take_over(plan, node, folder, record, now)
                outcomes = [("adopted", node.folder, folder, past.code(node, record))]
                break
            outcomes.append(("refused", node.folder, folder, obstacles))
        if outcomes:
            yield min(outcomes, key=lambda outcome: len(outcome[-1]))


def _other_inputs(node: Node, record: dict[str, Any]) -> Iterator[str]:
    """The inputs of a node that are neither those of a record nor were adopted from them."""
    was = {name: (facts["key"], facts["digest"]) for name, facts in record["inputs"].items()}
    yield from (f"input changed: {name} is none any more" for name in was.keys() - node.inputs.keys())
    for name, given in node.inputs.items():
        now = provenance.source(given)
        same = [(each["key"], each["digest"]) for each in [now, *now.get("adopted", [])]] if now else []
        if was.get(name) not in same:
            yield f"input changed: {name} ({given.path})"


def _take_over(plan: Plan, node: Node, folder: Path, record: dict[str, Any], now: str) -> None:
    """Put the content of an earlier version into the place of a node."""
    with store.scratch(node.folder) as scratch:
        ignored = shutil.ignore_patterns(STAMP)
        shutil.copytree(folder, scratch, copy_function=_link, ignore=ignored, dirs_exist_ok=True)
        before = {name: record[name] for name in ("key", "digest", "code")}
        changed = {"key": node.key, "inputs": provenance.inputs(node), "code": plan.code[node.code]}
        adopted = [*record.get("adopted", []), {**before, "when": now}]
        provenance.write(scratch, {**record, **changed, "adopted": adopted})
        store.put(scratch, Path(node.folder), store.QUARANTINE)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
