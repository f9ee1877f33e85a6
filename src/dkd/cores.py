"""The number of CPU cores that this process may use; `python -m dkd.cores` prints it. Needs nothing but Python."""

import os
from pathlib import Path

ROOT = Path("/")
"""Folder that holds `proc` and `sys`."""


def available() -> int:
    """Cores that the process may run on, or the quota of its container if that is less; at least 1.

    A quota is rounded up to whole cores. Limits that cannot be read are ignored.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas()]))


def _quotas() -> list[int]:
    """Limits, in cores rounded up, of the control groups of this process and of all groups above them."""
    top = ROOT / "sys" / "fs" / "cgroup"
    found = []
    for line in _text(ROOT / "proc" / "self" / "cgroup").splitlines():
        number, controllers, own = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            # Version 2, alone or together with version 1.
            tops, limit = (top, top / "unified"), _v2
        elif "cpu" in controllers.split(","):
            tops, limit = (top / controllers, top / "cpu"), _v1
        else:
            continue
        for folder in tops:
            # Inside a container, this path can be the host's, while the container sees its own group as the top.
            parts = [part for part in own.split("/") if part not in ("", ".", "..")]
            groups = [folder.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
            found += [cores for group in groups if (cores := limit(group)) is not None]
    return found


def _v2(group: Path) -> int | None:
    """cpu.max holds "QUOTA PERIOD" in microseconds, or "max PERIOD"."""
    quota, period = [*_text(group / "cpu.max").split(), "", ""][:2]
    return _cores(quota, period)


def _v1(group: Path) -> int | None:
    return _cores(_text(group / "cpu.cfs_quota_us").strip(), _text(group / "cpu.cfs_period_us").strip())


def _cores(quota: str, period: str) -> int | None:
    """Quota divided by period, rounded up; None if there is no limit ("max" or -1)."""
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return max(1, -(-int(quota) // int(period)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    print(available())
