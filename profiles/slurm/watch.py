"""Ends jobs of this directory that Slurm will never start, and says why; the executor would wait for them for ever.

Started by the run (pipeline/run.py) with the number of its process, with which it ends.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

NEVER = re.compile(r"Partition\w+Limit|BadConstraints|\w*(PerJob|MaxWall|MaxMem)\w*")
"""Reasons of waiting that do not pass: more than the partition, the account or the quality of service allows."""
FAILED = Path(".dkd/failed")


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


if __name__ == "__main__":
    run = int(sys.argv[1])
    while os.getppid() == run:
        check()
        time.sleep(10)
