"""Whether DVC watches all raw data that a plan reads: it looks at its stages' `deps` only, and follows no link in them.

Knows dvc.yaml and places; not what lies there. Snakemake needs none of this: its plan reads raw data each time.
"""

from pathlib import Path

import yaml

from dkd.datasets import catalog
from dkd.errors import InputError
from pipeline.plan import Plan

STAGE = "data"


def check(plan: Plan, file: Path = Path("dvc.yaml")) -> None:
    """Raise InputError that says what to add to dvc.yaml where a change of raw data would go unnoticed."""
    deps = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"][STAGE]["deps"]
    watched = [Path(dep if isinstance(dep, str) else next(iter(dep))).resolve() for dep in deps]
    for node in plan.of("index"):
        root = Path(node.inputs["data"].path)
        if str(root) not in plan.nodes:
            for part in catalog.PARTS[node.params["format"]]:
                place = (root / part).resolve()
                if not any(place.is_relative_to(dep) for dep in watched):
                    raise InputError(
                        f"{file} does not watch the raw data {root / part}: add `- {root.resolve()}` "
                        f"to the deps of its stage {STAGE}"
                        + ("" if place.is_relative_to(root.resolve()) else f", and `- {place}`, where the link leads")
                    )
