# Classes and images of every step.
rule split:
    input:
        ancient(lambda w: PLAN.made_from(f"data/tasks/{w.place}-{w.key}")),
    output:
        update("data/tasks/{place}-{key}/tasks.json"),
        update("data/tasks/{place}-{key}/provenance.json"),
    log:
        "logs/data/tasks/{place}-{key}.log",
    conda:
        "../environment.yaml"
    message:
        "split {wildcards.place}"
    shell:
        NODE


rule split_all:
    input:
        ancient(PLAN.stamps("split")),
    message:
        "tasks are there"
