# Tables over all runs, the page, and their copies at the fixed places that git and DVC follow.
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


rule page:
    input:
        ancient(lambda w: PLAN.made_from(f"report/{w.place}-{w.key}")),
    output:
        update("report/{place}-{key}/index.html"),
        update("report/{place}-{key}/miou.png"),
        update("report/{place}-{key}/classes.png"),
        update("report/{place}-{key}/forgetting.png"),
        update("report/{place}-{key}/confusion.png"),
        update("report/{place}-{key}/training.png"),
        update("report/{place}-{key}/drift.png"),
        update("report/{place}-{key}/forgetting.csv"),
        update("report/{place}-{key}/confusion.csv"),
        update("report/{place}-{key}/training.csv"),
        update("report/{place}-{key}/drift.csv"),
        update("report/{place}-{key}/cost.csv"),
        update("report/{place}-{key}/provenance.json"),
    log:
        "logs/report/{place}-{key}.log",
    conda:
        "../environment.yaml"
    message:
        "the page of all results"
    shell:
        NODE


rule publish:
    input:
        ancient([f"{SUMMARY.folder}/provenance.json", f"{PAGE.folder}/provenance.json"]),
    output:
        update("metrics/summary.json"),
        update("metrics/groups.json"),
        update(report("metrics/steps.csv", category="Tables")),
        update(report("metrics/classes.csv", category="Tables")),
        update(report("metrics/groups.csv", category="Tables")),
        update(report("metrics/differences.csv", category="Tables")),
        update(report("metrics/table.txt", category="Tables")),
        update(report("metrics/forgetting.csv", category="Tables")),
        update(report("metrics/confusion.csv", category="Tables")),
        update(report("metrics/training.csv", category="Tables")),
        update(report("metrics/drift.csv", category="Tables")),
        update(report("metrics/cost.csv", category="Tables")),
        update(report("metrics/miou.png", category="Figures")),
        update(report("metrics/classes.png", category="Figures")),
        update(report("metrics/forgetting.png", category="Figures")),
        update(report("metrics/confusion.png", category="Figures")),
        update(report("metrics/training.png", category="Figures")),
        update(report("metrics/drift.png", category="Figures")),
        update("report/index.html"),
        update(str(PAGE_PUBLISHED)),
        update(str(PUBLISHED)),
    log:
        "logs/publish.log",
    conda:
        "../environment.yaml"
    message:
        "publish tables and figures in metrics/, the page in report/"
    shell:
        PUBLISH


rule report_all:
    input:
        ancient([*PLAN.stamps("summary", "page"), str(PUBLISHED), str(PAGE_PUBLISHED)]),
    message:
        "tables and page are there"
