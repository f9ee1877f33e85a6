# Metrics of every step.
rule evaluate:
    input:
        ancient(lambda w: PLAN.made_from(f"results/{w.place}-{w.key}")),
    output:
        update("results/{place}-{key}/metrics.json"),
        update("results/{place}-{key}/confusion.npz"),
        update("results/{place}-{key}/provenance.json"),
    log:
        "logs/results/{place}-{key}.log",
    conda:
        "../environment.yaml"
    threads: THREADS
    resources:
        gpu_evaluate=GPUS,
    message:
        "evaluate {wildcards.place}"
    shell:
        NODE


rule evaluate_all:
    input:
        ancient(PLAN.stamps("evaluate")),
    message:
        "metrics of all steps are there"


# A few pictures, and how reasoning moved.
rule panels:
    input:
        ancient(lambda w: PLAN.made_from(f"panels/{w.place}-{w.key}")),
    output:
        update("panels/{place}-{key}/panels.json"),
        update(
            report(
                "panels/{place}-{key}/sheet.png",
                category="Pictures",
                labels={"after": "{place}"},
            )
        ),
        update("panels/{place}-{key}/provenance.json"),
    log:
        "logs/panels/{place}-{key}.log",
    conda:
        "../environment.yaml"
    threads: PLAN.runtime["threads"]
    resources:
        gpu_evaluate=min(GPUS, 1),
    message:
        "pictures {wildcards.place}"
    shell:
        NODE


rule panels_all:
    input:
        ancient(PLAN.stamps("panels")),
    message:
        "pictures of all steps are there"
