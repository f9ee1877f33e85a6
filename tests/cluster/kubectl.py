#!/usr/bin/env python3
"""Stands in for kubectl: jobs are processes of this machine, recorded in the folder $KUBECTL.

create -f -             starts what the manifest says, as `uuid`/`manifest`, with its process
get job NAME ...        "NAME CONDITIONS", as the jsonpath of status.sh asks for
delete job ... NAME...  SIGTERM to the first process alone, as in a pod
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

PLACE = Path(os.environ["KUBECTL"])


def create():
    text = sys.stdin.read()
    job = yaml.safe_load(text)
    place = PLACE / job["metadata"]["name"]
    place.mkdir(parents=True)
    (place / "manifest").write_text(text)
    [container] = job["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: "node-of-a-pod" for each in container["env"]}
    with (place / "log").open("w") as log:
        # The shell notes the end of the container, whose process it is not.
        noted = ["/bin/sh", "-c", f'"$@" & echo $! > {place}/pid; wait $!; echo $? > {place}/code', "pod"]
        subprocess.Popen(
            [*noted, *container["command"]],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    print(f"job.batch/{place.name} created")


def get(name):
    code = PLACE / name / "code"
    if (PLACE / name).is_dir():
        ended = code.exists() and code.read_text().strip()
        print(name, {"": "", "0": "SuccessCriteriaMet Complete"}.get(ended or "", "FailureTarget Failed"), end="")


def delete(names):
    for name in names:
        os.kill(int((PLACE / name / "pid").read_text()), signal.SIGTERM)
        print(f'job.batch "{name}" deleted')


match sys.argv[1:]:
    case ["create", "-f", "-"]:
        create()
    case ["get", "job", name, "--ignore-not-found", "-o", "jsonpath={.metadata.name} {.status.conditions[*].type}"]:
        get(name)
    case ["delete", "job", "--ignore-not-found", "--wait=false", *names]:
        delete(names)
    case other:
        sys.exit(f"kubectl: {other} is not expected")
