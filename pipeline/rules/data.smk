# Pictures and the table of what is in them.
rule draw:
    output:
        update("data/made/{place}-{key}/classes.txt"),
        update("data/made/{place}-{key}/splits/train.txt"),
        update("data/made/{place}-{key}/provenance.json"),
    log:
        "logs/data/made/{place}-{key}.log",
    conda:
        "../environment.yaml"
    message:
        "draw {wildcards.place}"
    shell:
        NODE


rule index:
    input:
        ancient(lambda w: PLAN.made_from(f"data/index/{w.place}-{w.key}")),
    output:
        update("data/index/{place}-{key}/index.csv"),
        update("data/index/{place}-{key}/index.json"),
        update("data/index/{place}-{key}/provenance.json"),
    log:
        "logs/data/index/{place}-{key}.log",
    conda:
        "../environment.yaml"
    message:
        "index {wildcards.place}"
    shell:
        NODE


rule data_all:
    input:
        ancient(PLAN.stamps("draw", "index")),
    message:
        "data sets are there"
