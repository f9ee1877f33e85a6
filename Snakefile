# From params.yaml to metrics/: the plan (pipeline/plan.py) says which nodes there are, the rules how each is made.
import os
import sys
from pathlib import Path

# Ahead of whatever is installed: the code that runs is that of this checkout.
sys.path[:0] = [workflow.basedir, f"{workflow.basedir}/src"]

from dkd import config as params
from dkd.errors import InputError
from pipeline import devices, faults, jobs, keep, outside
from pipeline import plan as plans
from pipeline.publish import REPORT, loosen, published, renew

try:
    if workflow.is_main_process:
        PLAN = plans.build(params.load())
        if "DVC_STAGE" in os.environ:
            outside.check(PLAN)
        # First: from here on, no other run puts nodes of this plan away.
        plans.freeze(PLAN)
        keep.tidy(PLAN)
        # `onsuccess` is not called when nothing is to be done.
        if all(Path(stamp).exists() for stamp in PLAN.stamps()):
            keep.prune(PLAN)
            renew([PLAN.of(kind)[0].folder for kind in ("summary", "page")])
        loosen()
    else:
        PLAN = plans.thaw()
    DEVICES = devices.found(PLAN.runtime["device"], PLAN.runtime["processes"])
except (InputError, OSError) as error:
    sys.exit(faults.sentence(error))

[SUMMARY], [PAGE] = PLAN.of("summary"), PLAN.of("page")
PUBLISHED = published(PAGE.folder)
PAGE_PUBLISHED = published(PAGE.folder, REPORT)
NEWS = not PUBLISHED.exists()
# As many trainings at once as have GPUs of their own, and as many evaluations beside them; --resources says otherwise.
GPUS = PLAN.runtime["processes"] if DEVICES else 0
THREADS = PLAN.runtime["processes"] * PLAN.runtime["threads"]
for use in ("gpu", "gpu_evaluate"):
    if DEVICES and use not in workflow.global_resources:
        workflow.global_resources[use] = len(DEVICES)
PYTHON = jobs.python(deployed=bool(workflow.deployment_settings.deployment_method))
NODE = f"{PYTHON} -m pipeline.node --log {{log}} {{output}}"
PUBLISH = f"{PYTHON} -m pipeline publish {{input}} 2> {{log}}"


wildcard_constraints:
    place=".+",
    key="[0-9a-f]{12}",


include: "pipeline/rules/data.smk"
include: "pipeline/rules/split.smk"
include: "pipeline/rules/train.smk"
include: "pipeline/rules/evaluate.smk"
include: "pipeline/rules/report.smk"


rule all:
    default_target: True
    input:
        ancient(PLAN.stamps()),
        ancient([str(PUBLISHED), str(PAGE_PUBLISHED)]),
    message:
        "everything is there"


onsuccess:
    keep.prune(PLAN)
    renew([SUMMARY.folder, PAGE.folder])
    if NEWS and PUBLISHED.exists():
        print(Path(SUMMARY.folder, "table.txt").read_text(encoding="utf-8"))
        print(f"tables and figures: {PUBLISHED.parent}/, page: {REPORT}/index.html")
