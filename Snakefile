# From params.yaml to metrics/. The plan (pipeline/plan.py) says which folders there are to make, and pipeline/rules.py
# what each rule does; `python -m pipeline status` shows how they stand. Reading this file changes nothing.
import sys

# Ahead of whatever is installed: the code that runs is that of this checkout.
sys.path[:0] = [workflow.basedir, f"{workflow.basedir}/src"]

from pipeline.rules import RULES, STAGES
from pipeline.run import Run

RUN = Run(workflow, config)


wildcard_constraints:
    place=".+",
    key="[0-9a-f]{12}",
    run="[0-9a-f]{12}",


localrules:
    all,
    again,


rule all:
    input:
        ancient(lambda w: RUN.stamps(RULES)),
        lambda w: RUN.again(RULES),
    message:
        "everything is there"


for stage, names in STAGES.items():

    rule:
        name:
            f"{stage}_all"
        input:
            ancient(lambda w, names=names: RUN.stamps(names)),
            lambda w, names=names: RUN.again(names),
        localrule: True
        message:
            f"{stage}: everything is there"


# One rule for each kind of node. Of a node's files Snakemake sees the last one, and those for its report.
for name, facts in RULES.items():

    rule:
        name:
            name
        input:
            ancient(lambda w, top=facts.folder: RUN.inputs(f"{top}/{w.place}-{w.key}")),
            lambda w, top=facts.folder: RUN.inputs_again(f"{top}/{w.place}-{w.key}"),
        output:
            provenance=update(f"{facts.folder}/{{place}}-{{key}}/provenance.json"),
            shown=[
                update(
                    report(
                        f"{facts.folder}/{{place}}-{{key}}/{file}",
                        category=category,
                        labels={"of": "{place}"},
                    )
                )
                for category, files in facts.report
                for file in files
            ],
        log:
            f"logs/{facts.folder}/{{place}}-{{key}}.log",
        conda:
            RUN.environment
        threads: RUN.threads(name)
        resources:
            gpu=RUN.gpus(name),
        message:
            f"{facts.message} {{wildcards.place}}"
        shell:
            RUN.command()


# Snakemake makes what is missing. This file, asked for, has a node made that is there but is not what it should be.
rule again:
    output:
        temp(touch(".dkd/again/{run}/{key}")),
    log:
        "logs/again/{run}-{key}.log",
    conda:
        RUN.environment
    message:
        "look at {wildcards.key} again"
    shell:
        "true"


onstart:
    RUN.start()


onsuccess:
    RUN.succeed()


onerror:
    RUN.fail()
