"""Copies tables and figures to metrics/ and the page to report/, the fixed places that git and DVC follow.

Copies are compared with their nodes by content. Of a run that failed, the page alone is shown. Computes nothing else.
"""

import filecmp
import os
import shutil
from importlib import import_module
from pathlib import Path

from pipeline import store
from pipeline.plan import Plan
from pipeline.rules import RULES

METRICS, REPORT, PAGE = Path("metrics"), Path("report"), "index.html"


def copies(plan: Plan) -> dict[Path, Path]:
    """Published file -> the file that it is a copy of.

    The provenance.json of the page comes last, under a name that ends in its key: in metrics/ it says that all there is
    of this page, in report/ that the page is.
    """
    nodes = plan.of("summary", "page")
    found = {METRICS / name: Path(node.folder, name) for node in nodes for name in RULES[node.rule].files}
    found[REPORT / PAGE] = found.pop(METRICS / PAGE)
    return found | {place / f"provenance-{nodes[-1].key}.json": Path(nodes[-1].stamp) for place in (METRICS, REPORT)}


def outdated(plan: Plan) -> bool:
    """Whether what is published is not what the finished nodes of the plan hold; False while they are not finished."""
    found = copies(plan)
    finished = all(source.is_file() for source in found.values())
    return finished and (_old(found) != [] or any(not _same(target, source) for target, source in found.items()))


def publish(plan: Plan) -> bool:
    """Copy what differs; whether anything did. Nothing is published while the nodes are not finished."""
    if not outdated(plan):
        return False
    found = copies(plan)
    for target, source in found.items():
        if not _same(target, source):
            _copy(source, target)
    for path in _old(found):
        path.unlink()
    return True


def write_page(plan: Plan, out: Path) -> None:
    """Write the page of what there is by now, with the reasons of what failed in the last run, into `out`."""
    [node], reasons = plan.of("page"), failures(plan)
    inputs = {name: Path(source.path) for name, source in node.inputs.items()}
    failed = {name: reasons[source.path] for name, source in node.inputs.items() if source.path in reasons}
    # Slow to import, and not needed to plan or to look.
    import_module("pipeline.stages.page").run(node.params, {"failed": failed}, inputs, out)


def show_failed(plan: Plan) -> None:
    """Put that page in the place of the published one."""
    scratch = store.SCRATCH / "page"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    write_page(plan, scratch)
    _copy(scratch / PAGE, REPORT / PAGE)
    for path in REPORT.glob("provenance-*.json"):
        path.unlink()
    shutil.rmtree(scratch)


def failures(plan: Plan) -> dict[str, str]:
    """By folder: why a node of the plan could not be made in the last run."""
    lines = {path.name: path.read_text(encoding="utf-8") for path in store.FAILED.glob("*")}
    return {node.folder: lines[node.key] for node in plan.of() if node.key in lines}


def _old(found: dict[Path, Path]) -> list[Path]:
    return [path for place in (METRICS, REPORT) for path in place.glob("provenance-*.json") if path not in found]


def _same(target: Path, source: Path) -> bool:
    return target.is_file() and filecmp.cmp(source, target, shallow=False)


def _copy(source: Path, target: Path) -> None:
    """Replace a file as a whole: it may be a read-only link into DVC's cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, scratch)
    scratch.replace(target)
