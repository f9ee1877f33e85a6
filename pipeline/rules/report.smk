# Tables over all runs, and their copy at the fixed place that git and DVC follow.
rule summary:
    input:
        ancient(lambda w: PLAN.made_from(f"summary/{w.place}-{w.key}")),
    output:
        update("summary/{place}-{key}/summary.json"),
        update("summary/{place}-{key}/groups.json"),
        update("summary/{place}-{key}/steps.csv"),
        update("summary/{place}-{key}/classes.csv"),
        update("summary/{place}-{key}/groups.csv"),
        update("summary/{place}-{key}/differences.csv"),
        update("summary/{place}-{key}/table.txt"),
        update("summary/{place}-{key}/provenance.json"),
    log:
        "logs/summary/{place}-{key}.log",
    conda:
        "../environment.yaml"
    message:
        "tables over all runs"
    shell:
        NODE


rule publish:
    input:
        ancient(f"{SUMMARY.folder}/provenance.json"),
    output:
        update("metrics/summary.json"),
        update("metrics/groups.json"),
        update("metrics/steps.csv"),
        update("metrics/classes.csv"),
        update("metrics/groups.csv"),
        update("metrics/differences.csv"),
        update("metrics/table.txt"),
        update(str(PUBLISHED)),
    log:
        "logs/publish.log",
    conda:
        "../environment.yaml"
    message:
        "publish tables in metrics/"
    shell:
        PUBLISH


rule report_all:
    input:
        ancient([*PLAN.stamps("summary"), str(PUBLISHED)]),
    message:
        "tables are there"
