"""The plan of the run that is at work, as a file that its jobs read in place of params.yaml.

Knows the file only; `store.lock` sees to it that there is one run.
"""

import json
import os
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dkd.errors import InputError
from pipeline.plan import Node, Plan, Source

FILE = Path(".dkd/plan.json")


@dataclass
class Run:
    """What the jobs of a run have to know.

    By folder, the name of each node's state when the run began (`states.State`); folders to make anew; rules whose
    existing nodes are checked byte by byte; a name, so that nothing that a killed run left is taken for this one's.
    """

    plan: Plan
    states: dict[str, str]
    redo: list[str]
    verify: list[str]
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:12])


def write(run: Run) -> None:
    """Write the file as a whole."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    scratch = FILE.with_name(f".{FILE.name}.{os.getpid()}")
    scratch.write_text(json.dumps(asdict(run)), encoding="utf-8")
    scratch.replace(FILE)


def read() -> Run:
    """The run that is at work, or the last one. Raises InputError where there was none."""
    try:
        content = json.loads(FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{FILE} is not readable: jobs are started by snakemake, without --no-hooks") from None
    plan = Plan(**content.pop("plan"))
    for folder, facts in plan.nodes.items():
        inputs = {name: Source(*source) for name, source in facts.pop("inputs").items()}
        plan.nodes[folder] = Node(**facts, inputs=inputs)
    return Run(plan, **content)
