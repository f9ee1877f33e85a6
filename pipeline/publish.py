"""Copies tables, figures and the page to the fixed places that git and DVC follow; computes nothing."""

import os
import shutil
from pathlib import Path

from pipeline.plan import STAMP

METRICS, REPORT = Path("metrics"), Path("report")
PAGE = "index.html"


def publish(stamps: list[Path]) -> None:
    """Copy all files beside the provenance.json of some nodes to metrics/, the page to report/.

    The last one's provenance.json comes last, under a name that ends in its key: in metrics/ it says that all there is
    of this node, in report/ that the page is.
    """
    METRICS.mkdir(exist_ok=True)
    REPORT.mkdir(exist_ok=True)
    for old in [*METRICS.glob("provenance-*.json"), *REPORT.glob("provenance-*.json")]:
        old.unlink()
    for stamp in stamps:
        for path in sorted(stamp.parent.iterdir()):
            if path not in stamps:
                _copy(path, (REPORT if path.name == PAGE else METRICS) / path.name)
    for place in (REPORT, METRICS):
        _copy(stamps[-1], published(str(stamps[-1].parent), place))


def renew(folders: list[str]) -> None:
    """Publish the nodes of `folders` again where the last one was made again since: what it was made from was, too."""
    stamps = [Path(folder, STAMP) for folder in folders]
    target = published(folders[-1])
    if stamps[-1].exists() and target.exists() and stamps[-1].read_bytes() != target.read_bytes():
        publish(stamps)


def loosen() -> None:
    """Put a copy in the place of each published file that is read-only, as DVC's links to its cache are.

    Snakemake begins no rule over a read-only file, and publishing replaces these anyway.
    """
    for path in (each for place in (METRICS, REPORT) for each in place.glob("*.*") if each.is_file()):
        if not os.access(path, os.W_OK):
            _copy(path, path)


def published(folder: str, place: Path = METRICS) -> Path:
    """The file that says that what lies at a place is that of the node of `folder`."""
    return place / f"provenance-{folder[-12:]}.json"


def _copy(source: Path, target: Path) -> None:
    scratch = target.with_name(f".{target.name}")
    shutil.copyfile(source, scratch)
    scratch.replace(target)
