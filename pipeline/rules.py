"""The rules of the workflow: for each one where its results lie, which files they hold, and what it needs.

The Snakefile, the plan, the jobs and the tests read this table; nothing of it stands anywhere else but in dvc.yaml,
which a test compares with it. Knows neither params nor what lies on disk.
"""

from typing import NamedTuple

CHECKPOINT = ("model.safetensors", "step.json", "train.csv")
TABLES = ("steps.csv", "classes.csv", "groups.csv", "differences.csv", "table.txt")
FIGURES = tuple(f"{name}.png" for name in ("miou", "classes", "forgetting", "confusion", "training", "drift"))
FIGURES_PDF = tuple(name.replace(".png", ".pdf") for name in FIGURES)
NUMBERS = tuple(f"{name}.csv" for name in ("forgetting", "confusion", "training", "drift", "cost"))


class Rule(NamedTuple):
    """What there is to know of a rule."""

    folder: str
    """Where its nodes lie."""
    stage: str
    """The stage of dvc.yaml that records this folder."""
    message: str
    """What Snakemake prints when a job starts."""
    files: tuple[str, ...]
    """What each node holds besides provenance.json."""
    gpu: bool = False
    """Whether it computes on a GPU where there is one."""
    shared: bool = False
    """Whether several processes can share one job (`runtime.processes`)."""
    report: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Category in Snakemake's report -> files shown there."""


RULES = {
    "draw": Rule("data/made", "data", "draw", ("classes.txt", "splits/train.txt")),
    "index": Rule("data/index", "data", "index", ("index.csv", "index.json")),
    "split": Rule("data/tasks", "split", "split", ("tasks.json",)),
    "base": Rule("checkpoints/base", "base", "train the base", CHECKPOINT, gpu=True, shared=True),
    "increment": Rule("checkpoints/increment", "increment", "train the step", CHECKPOINT, gpu=True, shared=True),
    "memory": Rule("checkpoints/memory", "increment", "choose exemplars", ("memory.json",), gpu=True),
    "evaluate": Rule("results", "evaluate", "evaluate", ("metrics.json", "confusion.npz"), gpu=True, shared=True),
    "panels": Rule(
        "panels",
        "panels",
        "sample predictions",
        ("panels.json", "sheet.png"),
        gpu=True,
        report=(("Sample predictions", ("sheet.png",)),),
    ),
    "summary": Rule(
        "summary",
        "report",
        "tables of all runs",
        ("summary.json", "groups.json", *TABLES),
        report=(("Tables", TABLES),),
    ),
    "page": Rule(
        "report",
        "report",
        "page of all results",
        ("index.html", *FIGURES, *FIGURES_PDF, *NUMBERS),
        report=(("Figures", FIGURES), ("Tables", NUMBERS)),
    ),
}
FOLDERS = tuple(rule.folder for rule in RULES.values())

STAGES = {
    stage: [name for name in RULES if RULES[name].stage == stage] for stage in [rule.stage for rule in RULES.values()]
}
"""Stage of dvc.yaml -> the rules whose nodes it records."""
