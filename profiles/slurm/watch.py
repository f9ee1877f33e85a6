"""Beside a run: says where locks do not reach other nodes; ends jobs that Slurm will never start, and says why.

The executor would wait for them for ever. Started by the run (pipeline/run.py) with the number of its process, with
which it ends.
"""

import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

NEVER = re.compile(r"Partition\w+Limit|BadConstraints|\w*(PerJob|MaxWall|MaxMem)\w*")
"""Reasons of waiting that do not pass: more than the partition, the account or the quality of service allows."""
LOCAL = {"nfs nolock", "nfs local_lock=all", "nfs local_lock=flock", "lustre localflock"}
"""Mounts whose locks hold on one machine only."""
FAILED = Path(".dkd/failed")


def locks_of_one_machine(mounts: str) -> str | None:
    """The option with which this directory is mounted so that locks do not reach other machines (/proc/self/mounts)."""
    options, deepest = set(), -1
    for place, kind, given in (line.split()[1:4] for line in mounts.splitlines()):
        if Path.cwd().is_relative_to(place.replace("\\040", " ")) and len(place) >= deepest:
            options, deepest = {f"{kind.rstrip('4')} {option}" for option in given.split(",")}, len(place)
    return next(iter(options & LOCAL), None)


def check() -> None:
    """End the jobs that cannot start; leave the reason where the page and the end of the run show it."""
    asked = ["squeue", "--me", "--noheader", "--states=PENDING", "--format=%i|%Z|%P|%l|%m|%r|%k"]
    done = subprocess.run(asked, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        job, place, partition, limit, memory, reason, comment = line.split("|", 6)
        if Path(place) != Path.cwd() or not NEVER.match(reason):
            continue
        ask = f"it asks for {memory} and {limit}; lower mem_mb or runtime, or name another partition"
        text = f"dkd: Slurm will never start job {job} in partition {partition} ({reason}): {ask} ({comment})"
        print(text, file=sys.stderr, flush=True)
        if key := re.search(r"[0-9a-f]{12}$", comment):
            FAILED.mkdir(parents=True, exist_ok=True)
            (FAILED / key[0]).write_text(text, encoding="utf-8")
        subprocess.run(["scancel", job])


def main(run: int) -> None:
    """Look every 10 seconds, and end within a second of the run."""
    if option := locks_of_one_machine(Path("/proc/self/mounts").read_text(encoding="utf-8")):
        words = f"locks do not reach from this machine to others ({option}); start no second run here from another one"
        print(f"dkd: warning: {words}", file=sys.stderr, flush=True)
    for second in itertools.takewhile(lambda _: os.getppid() == run, itertools.count()):
        if second % 10 == 0:
            check()
        time.sleep(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
