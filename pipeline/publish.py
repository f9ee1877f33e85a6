"""Copies the tables of the summary node to metrics/, the fixed place that git and DVC follow; computes nothing."""

import shutil
from pathlib import Path

from pipeline.plan import STAMP

METRICS = Path("metrics")


def publish(stamp: Path) -> None:
    """Copy all files beside a summary node's provenance.json; that comes last, under a name that ends in its key.

    So the existence of that name says that the tables are those of this node.
    """
    METRICS.mkdir(exist_ok=True)
    for old in METRICS.glob("provenance-*.json"):
        old.unlink()
    for path in sorted(stamp.parent.iterdir()):
        if path != stamp:
            _copy(path, METRICS / path.name)
    _copy(stamp, published(str(stamp.parent)))


def renew(folder: str) -> None:
    """Publish again where the summary node of `folder` was made again since, and so is not the one in metrics/."""
    stamp, target = Path(folder, STAMP), published(folder)
    if stamp.exists() and target.exists() and stamp.read_bytes() != target.read_bytes():
        publish(stamp)


def published(folder: str) -> Path:
    """The file that says that the summary node of `folder` is published."""
    return METRICS / f"provenance-{folder[-12:]}.json"


def _copy(source: Path, target: Path) -> None:
    scratch = target.with_name(f".{target.name}")
    shutil.copyfile(source, scratch)
    scratch.replace(target)
