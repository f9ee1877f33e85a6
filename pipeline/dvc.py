"""What DVC watches and what it has recorded, read from its files: dvc.yaml, dvc.lock, and its cache."""

import configparser
import json
from pathlib import Path

import yaml

from dkd.data import catalog
from dkd.errors import InputError
from pipeline import store
from pipeline.plan import Plan
from pipeline.rules import FOLDERS


def check_deps(plan: Plan) -> None:
    """Raise InputError that says what to add to dvc.yaml where a change of raw data would go unnoticed.

    DVC looks at its stages' `deps` only, and follows no link in them.
    """
    file = Path("dvc.yaml")
    deps = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]["data"]["deps"]
    watched = [Path(dep if isinstance(dep, str) else next(iter(dep))).resolve() for dep in deps]
    for node in plan.of("index"):
        root = Path(node.inputs["data"].path)
        for part in () if node.inputs["data"].made else catalog.parts(node.params["format"], root):
            place = (root / part).resolve()
            if not any(place.is_relative_to(dep) for dep in watched):
                link = "" if place.is_relative_to(root.resolve()) else f", and `- {place}`, where the link leads"
                add = f"add `- {root.resolve()}` to the deps of its stage data{link}"
                raise InputError(f"{file} does not watch the raw data {root / part}: {add}")


def recorded(plan: Plan) -> str | None:
    """What to do where nodes that are missing are recorded in dvc.lock; None where there are no such nodes."""
    missing = {node.stamp for node in plan.of() if store.find(node.folder) is None}
    here = elsewhere = 0
    try:
        stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"].values()
        outs = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])} if missing else {}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None
    for path in outs.keys() & FOLDERS:
        try:
            files = json.loads(_cached(outs[path]).read_text(encoding="utf-8"))
            found = [_cached(file["md5"]).exists() for file in files if f"{path}/{file['relpath']}" in missing]
            here, elsewhere = here + sum(found), elsewhere + found.count(False)
        except (OSError, ValueError, KeyError, TypeError):
            elsewhere += any(stamp.startswith(f"{path}/") for stamp in missing)
    if here:
        return f"`dvc checkout` brings {here} of {len(missing)} missing nodes back"
    return "dvc.lock records results that are not here: `dvc pull` may bring them" if elsewhere else None


def _cached(md5: str) -> Path:
    """Where DVC's cache holds a file."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read([".dvc/config", ".dvc/config.local"], encoding="utf-8")
    return Path(".dvc", config.get("cache", "dir", fallback="cache"), "files", "md5", md5[:2], md5[2:])
