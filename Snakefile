# From params.yaml to metrics/: the plan (pipeline/plan.py) says which nodes there are, the rules how each is made.
import sys
from pathlib import Path

# Ahead of whatever is installed: the code that runs is that of this checkout.
sys.path[:0] = [workflow.basedir, f"{workflow.basedir}/src"]

from dkd import config as params
from dkd.errors import InputError
from pipeline import faults, jobs, keep
from pipeline import plan as plans
from pipeline.publish import published

try:
    if workflow.is_main_process:
        PLAN = plans.build(params.load())
        keep.tidy(PLAN)
        plans.freeze(PLAN)
        # `onsuccess` is not called when nothing is to be done.
        if all(Path(stamp).exists() for stamp in PLAN.stamps()):
            keep.prune(PLAN)
    else:
        PLAN = plans.thaw()
except (InputError, OSError) as error:
    sys.exit(faults.sentence(error))

[SUMMARY] = PLAN.of("summary")
PUBLISHED = published(SUMMARY.folder)
NEWS = not PUBLISHED.exists()
GPUS = jobs.gpus(PLAN.runtime["device"])
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
        ancient(str(PUBLISHED)),
    message:
        "everything is there"


onsuccess:
    keep.prune(PLAN)
    if NEWS and PUBLISHED.exists():
        print(Path(SUMMARY.folder, "table.txt").read_text(encoding="utf-8"))
        print(f"tables: {PUBLISHED.parent}/")
