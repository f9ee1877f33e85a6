"""Copies tables and figures to metrics/ and the page to report/, the fixed places that git and DVC follow.

Copies are compared with their nodes by content. Of a run that failed, the page alone is shown. Computes nothing else.
"""

import filecmp
import shutil
from importlib import import_module
from pathlib import Path

from dkd.files import replacing
from pipeline import store
from pipeline.plan import Plan
from pipeline.rules import RULES

METRICS, REPORT, PAGE, STAMPS = Path("metrics"), Path("report"), "index.html", "provenance-*.json"


def outdated(plan: Plan) -> dict[Path, Path | None]:
    """What is not published as the finished nodes of the plan hold it -> the file to copy, or None where it is to go.

    Empty while the nodes are not finished. The provenance.json of the page comes last, under a name that ends in its
    key: in metrics/ it says that all there is of this page, in report/ that the page is.
    """
    nodes = plan.of("summary", "page")
    found = {METRICS / name: Path(node.folder, name) for node in nodes for name in RULES[node.rule].files}
    found[REPORT / PAGE] = found.pop(METRICS / PAGE)
    found |= {top / f"provenance-{nodes[-1].key}.json": Path(nodes[-1].stamp) for top in (METRICS, REPORT)}
    if not all(source.is_file() for source in found.values()):
        return {}
    same = [path for path in found if path.is_file() and filecmp.cmp(found[path], path, shallow=False)]
    old = [path for top in (METRICS, REPORT) for path in top.glob(STAMPS) if path not in found]
    return {path: source for path, source in found.items() if path not in same} | dict.fromkeys(old)


def publish(plan: Plan) -> bool:
    """Copy what differs; whether anything did."""
    found = outdated(plan)
    for target, source in found.items():
        _copy(source, target) if source else target.unlink()
    return bool(found)


def write_page(plan: Plan, out: Path) -> None:
    """Write the page of the results so far, with the reasons for what failed in the last run, into `out`."""
    [node], reasons = plan.of("page"), failures(plan)
    inputs = {name: Path(source.path) for name, source in node.inputs.items()}
    failed = {name: reasons[source.path] for name, source in node.inputs.items() if source.path in reasons}
    # Slow to import, and not needed to plan or to look.
    import_module("pipeline.stages.page").run(node.params, {"failed": failed}, inputs, out)


def show_failed(plan: Plan) -> None:
    """Put that page in the place of the published one."""
    with store.scratch("page") as scratch:
        write_page(plan, scratch)
        _copy(scratch / PAGE, REPORT / PAGE)
    for path in REPORT.glob(STAMPS):
        path.unlink()


def failures(plan: Plan) -> dict[str, str]:
    """By folder: why a node of the plan could not be made in the last run."""
    lines = {path.name: path.read_text(encoding="utf-8") for path in store.FAILED.glob("*")}
    return {node.folder: lines[node.key] for node in plan.of() if node.key in lines}


def _copy(source: Path, target: Path) -> None:
    """Replace a file as a whole: it may be a read-only link into DVC's cache."""
    with replacing(target) as scratch:
        shutil.copyfile(source, scratch)
