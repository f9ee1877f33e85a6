# One checkpoint per step; the base is shared by scenarios and methods.
rule base:
    input:
        ancient(lambda w: PLAN.made_from(f"checkpoints/base/{w.place}-{w.key}")),
    output:
        update("checkpoints/base/{place}-{key}/model.safetensors"),
        update("checkpoints/base/{place}-{key}/step.json"),
        update("checkpoints/base/{place}-{key}/train.csv"),
        update("checkpoints/base/{place}-{key}/provenance.json"),
    log:
        "logs/checkpoints/base/{place}-{key}.log",
    conda:
        "../environment.yaml"
    threads: THREADS
    resources:
        gpu=GPUS,
    message:
        "train the base {wildcards.place}"
    shell:
        NODE


rule memory:
    input:
        ancient(lambda w: PLAN.made_from(f"checkpoints/memory/{w.place}-{w.key}")),
    output:
        update("checkpoints/memory/{place}-{key}/memory.json"),
        update("checkpoints/memory/{place}-{key}/provenance.json"),
    log:
        "logs/checkpoints/memory/{place}-{key}.log",
    conda:
        "../environment.yaml"
    threads: PLAN.runtime["threads"]
    resources:
        gpu_evaluate=min(GPUS, 1),
    message:
        "choose what is replayed at {wildcards.place}"
    shell:
        NODE


rule increment:
    input:
        ancient(lambda w: PLAN.made_from(f"checkpoints/increment/{w.place}-{w.key}")),
    output:
        update("checkpoints/increment/{place}-{key}/model.safetensors"),
        update("checkpoints/increment/{place}-{key}/step.json"),
        update("checkpoints/increment/{place}-{key}/train.csv"),
        update("checkpoints/increment/{place}-{key}/provenance.json"),
    log:
        "logs/checkpoints/increment/{place}-{key}.log",
    conda:
        "../environment.yaml"
    threads: THREADS
    resources:
        gpu=GPUS,
    message:
        "train the step {wildcards.place}"
    shell:
        NODE


rule base_all:
    input:
        ancient(PLAN.stamps("base")),
    message:
        "base checkpoints are there"


rule increment_all:
    input:
        ancient(PLAN.stamps("increment")),
    message:
        "checkpoints of all steps are there"
