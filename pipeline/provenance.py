"""provenance.json, the last file of every node: what the node was made from, by what, on what, and what it holds.

Knows the file and how to check a folder against it; neither makes nor moves nodes.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pipeline import ROOT, code_digest
from pipeline.plan import STAMP, Node, Plan

SCHEMA = 1
FIELDS = {"rule": str, "key": str, "params": dict, "inputs": dict, "code": dict, "files": dict, "digest": str}
OPTIONAL = {"definitions": dict, "finished": str, "seconds": int | float, "adopted": list}
LIBRARIES = ("torch", "torchvision", "timm", "accelerate", "numpy", "snakemake", "dvc")


def read(folder: Path) -> dict[str, Any] | None:
    """The record in a node's folder; None where there is none or it makes no sense."""
    try:
        state = (folder / STAMP).stat()
    except OSError:
        return None
    return _read(folder.absolute(), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=64)
def _read(folder: Path, *state: int) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    sound = isinstance(record, dict) and record.get("schema") == SCHEMA
    sound = sound and all(isinstance(record.get(name), kind) for name, kind in FIELDS.items())
    sound = sound and all(isinstance(record[name], kind) for name, kind in OPTIONAL.items() if name in record)
    sound = sound and all(_fits(facts, {"size": int, "sha256": str}) for facts in record["files"].values())
    sound = sound and all(_fits(facts, {"key": str, "digest": str}) for facts in record["inputs"].values())
    sound = sound and all(_fits(each, {"key": str, "digest": str, "when": str}) for each in record.get("adopted", []))
    return record if sound else None


def _fits(facts: Any, kinds: dict[str, type]) -> bool:
    return isinstance(facts, dict) and all(isinstance(facts.get(name), kind) for name, kind in kinds.items())


def latest(record: dict[str, Any]) -> str:
    """When a node got its present key: made, or adopted."""
    return record["adopted"][-1]["when"] if record.get("adopted") else record.get("finished", "")


def digest(folder: Path) -> str | None:
    """The recorded digest of a node's content; None where no record makes sense."""
    try:
        state = (folder / STAMP).stat()
    except OSError:
        return None
    return _digest(folder.absolute(), state.st_mtime_ns, state.st_size, state.st_ino)


@cache
def _digest(folder: Path, *state: int) -> str | None:
    record = read(folder)
    return record and record["digest"]


def damage(folder: Path, key: str, verify: bool = False) -> str | None:
    """Why the files in a folder are not those of the node that they should be; None where all is well.

    Files are compared by size, with `verify` by content.
    """
    record = read(folder)
    if record is None or record["key"] != key:
        return f"{STAMP} is not readable"
    for name, facts in record["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != facts["size"]:
            return f"{name} has {path.stat().st_size} bytes instead of {facts['size']}"
        if verify and code_digest.file_digest(path) != facts["sha256"]:
            return f"{name} does not hold what was written"
    if verify and record["digest"] != _content(record["key"], record["files"]):
        return f"{STAMP} does not hold what was written"
    return None


def replaced_input(plan: Plan, node: Node, folder: Path, at: Callable[[str], Path] = Path) -> str | None:
    """The input of a node, in `folder`, that is no longer the one that it was made from; None where there is none.

    Inputs are compared by the digest that was recorded when they were read; one that is missing is not compared. `at`
    says where the folder of an input lies.
    """
    record = read(folder)
    for name, source in node.inputs.items():
        if source.path in plan.nodes and record is not None:
            now = digest(at(source.path))
            if now is not None and record["inputs"].get(name, {}).get("digest") != now:
                return f"its input {source.path} is not the one that it was made from"
    return None


def _content(key: str, files: dict[str, Any]) -> str:
    return code_digest.digest({"key": key, "files": files})


def write(folder: Path, record: dict[str, Any]) -> None:
    """Write provenance.json as a folder's last file, and all of the folder through to the disk.

    `record` is completed by the digests of the files that lie there.
    """
    files = contents(folder)
    record = {**record, "files": files, "digest": _content(record["key"], files)}
    (folder / STAMP).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        flush(path)


def flush(path: Path) -> None:
    """Write what the system holds of a file or folder through to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file in a folder, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": code_digest.file_digest(path)}
        for path in paths
    }


def surroundings() -> dict[str, Any]:
    """What a result should not depend on, but might: commit, versions, platform."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = None
    git = {"commit": commit, "dirty": None if changes is None else bool(changes)}
    return {"git": git, "versions": versions, "platform": platform.platform()}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
