# From params.yaml to metrics/. The plan (pipeline/plan.py) says which folders there are to make, and pipeline/rules.py
# what each rule does; `python -m pipeline status` shows how they stand. Reading this file changes nothing.
import sys

# Ahead of whatever is installed: the code that runs is that of this checkout.
sys.path[:0] = [workflow.basedir, f"{workflow.basedir}/src"]

from pipeline.rules import RULES, TARGETS
from pipeline.run import Run

RUN = Run(workflow, config)


onstart:
    RUN.start()


onsuccess:
    RUN.succeed()


onerror:
    RUN.fail()


for target, names in TARGETS.items():

    rule:
        name:
            target
        input:
            [node.stamp for node in RUN.plan.of(*names)],
        localrule: True
        message:
            f"{target}: everything is there"


# One rule for each kind of node. Of a node's files Snakemake sees the last one, and those for its report.
for name, facts in RULES.items():
    place = f"{facts.folder}/{{place}}-{{key,[0-9a-f]{{12}}}}"

    rule:
        name:
            name
        input:
            lambda w, top=facts.folder: RUN.inputs(f"{top}/{w.place}-{w.key}"),
        output:
            provenance=update(f"{place}/provenance.json"),
            shown=[
                update(report(f"{place}/{file}", category=facts.message))
                for file in facts.files
                if facts.report and file.endswith((".png", ".csv", ".txt"))
            ],
        log:
            f"logs/{facts.folder}/{{place}}-{{key}}.log",
        localrule: facts.light
        conda:
            RUN.environment
        threads: RUN.plan.runtime["threads"] * RUN.plan.processes(name)
        resources:
            **RUN.resources(name),
        message:
            f"{facts.message} {{wildcards.place}}"
        shell:
            RUN.command()
