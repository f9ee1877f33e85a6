"""The profile for Kubernetes: its manifest against the client's schema; its jobs by a stand-in kubectl."""

import json
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from .conftest import TINY, Study
from .slurm import until

pytestmark = pytest.mark.cluster
BASE = "checkpoints/base/shapes/overlap/4/s0"
PROFILE = ("--profile", "profiles/kubernetes", "--seconds-between-status-checks", "1")


@pytest.fixture
def study(undisturbed, tmp_path):
    study = Study(tmp_path / "study", TINY)
    shutil.copytree(undisturbed.path / "data", study.path / "data")
    tools = tmp_path / "bin"
    tools.mkdir()
    stand_in = Path(__file__).with_name("kubectl.py")
    (tools / "kubectl").write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in} "$@"\n')
    (tools / "kubectl").chmod(0o755)
    study.env |= {"PATH": f"{tools}:{study.env['PATH']}", "KUBECTL": str(tmp_path / "jobs")}
    yield study
    left = study.working()
    psutil.wait_procs(left, timeout=60)
    for process in left:
        process.kill()


def test_jobs_make_what_a_local_run_makes_and_their_manifest_is_one(study, undisturbed, tmp_path):
    with study.start("base_all", *PROFILE) as run:
        run.end()
    assert study.digests() == undisturbed.digests()
    assert study.record(BASE)["machine"]["node"] == "node-of-a-pod"
    # Not at the top: `make test`, which reads this file, does without.
    from kubernetes.client import ApiClient

    manifests = [yaml.safe_load(path.read_text()) for path in (tmp_path / "jobs").glob("*/manifest")]
    client = ApiClient()
    for manifest in manifests:
        # What the schema does not know would be gone.
        job = client.deserialize(json.dumps(manifest), "V1Job", "application/json")
        assert client.sanitize_for_serialization(job) == manifest
    [base] = [each for each in manifests if each["metadata"]["name"].startswith("dkd-base-")]
    [container] = base["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "8000Mi", "nvidia.com/gpu": "0"}
    assert base["spec"]["activeDeadlineSeconds"] == 240 * 60


def test_a_run_that_is_stopped_deletes_its_jobs_which_save_what_they_have(study):
    study.params(base={"epochs": 100_000})
    with study.start("base_all", *PROFILE) as run:
        until(lambda: "epoch 1/" in study.log(BASE) or run.ended(), run.output)
        run.process.send_signal(signal.SIGINT)
        run.end(expect=1)
    until(lambda: not study.working(), study.working)
    assert study.states() and not list(study.path.glob(".dkd/scratch/*"))
