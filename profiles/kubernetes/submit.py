#!/usr/bin/env python3
"""Submits a job script of Snakemake to Kubernetes: fills in job.yaml, and prints the name of the job."""

import argparse
import subprocess
import sys
import uuid
from pathlib import Path
from string import Template

parser = argparse.ArgumentParser(description=__doc__)
for option in ("rule", "cpu", "gpu", "memory", "minutes"):
    parser.add_argument(f"--{option}", required=True)
parser.add_argument("script")
given = parser.parse_args()
values = {
    "name": f"dkd-{given.rule}-{uuid.uuid4().hex[:8]}",
    "seconds": int(given.minutes) * 60,
    # Quoted: quantities are text.
    "cpu": f'"{given.cpu}"',
    "gpu": f'"{given.gpu}"',
    "memory": f'"{given.memory}Mi"',
    "script": f'"{Path(given.script).absolute()}"',
}
manifest = Template(Path(__file__).with_name("job.yaml").read_text(encoding="utf-8")).substitute(values)
done = subprocess.run(["kubectl", "create", "-f", "-"], input=manifest, stdout=sys.stderr, text=True)
if done.returncode == 0:
    print(values["name"])
sys.exit(done.returncode)
