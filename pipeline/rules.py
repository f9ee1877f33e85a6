"""The rules of the workflow: for each one where its results lie, which files they hold, and what it needs.

The Snakefile, the plan, the jobs and the tests read this table; nothing of it stands anywhere else but in dvc.yaml,
which a test compares with it. Knows neither params nor what lies on disk.
"""

from typing import NamedTuple

CHECKPOINT = ("model.safetensors", "step.json", "train.csv", "loss.csv")
TABLES = (
    *(f"{name}.json" for name in ("summary", "groups", "headline")),
    *(f"{name}.csv" for name in ("steps", "classes", "groups", "differences")),
    "table.txt",
)
PNG = tuple(f"{name}.png" for name in ("miou", "classes", "forgetting", "confusion", "training", "drift"))
FIGURES = (*PNG, *(name.replace(".png", ".pdf") for name in PNG))
NUMBERS = tuple(f"{name}.csv" for name in ("forgetting", "confusion", "training", "drift", "cost"))


class Rule(NamedTuple):
    """What there is to know of a rule."""

    folder: str  # where its nodes lie
    stage: str  # the stage of dvc.yaml that records this folder
    message: str  # what Snakemake prints when a job starts
    files: tuple[str, ...]  # what each node holds besides provenance.json
    gpu: bool = False  # whether it computes on a GPU where there is one
    shared: bool = False  # whether several processes can share one job (`runtime.processes`)
    report: bool = False  # whether Snakemake's report shows its tables and figures
    light: bool = False  # whether it takes seconds, and is done where the run is rather than by a scheduler


RULES = {
    "draw": Rule("data/made", "data", "draw", ("classes.txt", "splits/train.txt"), light=True),
    "index": Rule("data/index", "data", "index", ("index.csv", "index.json")),
    "split": Rule("data/tasks", "split", "split", ("tasks.json",), light=True),
    "base": Rule("checkpoints/base", "base", "train the base", CHECKPOINT, gpu=True, shared=True),
    "increment": Rule("checkpoints/increment", "increment", "train the step", CHECKPOINT, gpu=True, shared=True),
    "memory": Rule("checkpoints/memory", "increment", "choose exemplars", ("memory.json",), gpu=True),
    "evaluate": Rule("results", "evaluate", "evaluate", ("metrics.json", "confusion.npz"), gpu=True, shared=True),
    "panels": Rule("panels", "panels", "sample predictions", ("panels.json", "sheet.png"), gpu=True, report=True),
    "summary": Rule("summary", "report", "tables of all runs", TABLES, report=True, light=True),
    "page": Rule(
        "report", "report", "page of all results", ("index.html", *FIGURES, *NUMBERS), report=True, light=True
    ),
}
FOLDERS = tuple(rule.folder for rule in RULES.values())

STAGES = {rule.stage: [name for name in RULES if RULES[name].stage == rule.stage] for rule in RULES.values()}
"""Stage of dvc.yaml -> the rules whose nodes it records."""
TARGETS = {"all": list(RULES), **{f"{stage}_all": names for stage, names in STAGES.items()}}
"""Target of the Snakefile, the default first -> the rules whose nodes it has made."""
