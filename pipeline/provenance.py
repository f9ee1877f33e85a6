"""provenance.json, the last file of every node: what the node was made from, by what, on what, and what it holds.

Knows how to check a folder against it; neither makes nor moves nodes.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from dkd.errors import InputError
from dkd.files import digest as file_digest
from dkd.files import flush
from pipeline import ROOT, code_digest, locks, store
from pipeline.plan import STAMP, Node, Source

SCHEMA = 1
FIELDS = {"rule": str, "key": str, "params": dict, "inputs": dict, "code": dict, "files": dict, "digest": str}
OPTIONAL = {"finished": str, "seconds": int | float, "adopted": list}
LIBRARIES = ("torch", "torchvision", "timm", "accelerate", "numpy", "snakemake", "dvc")


def read(folder: Path) -> dict[str, Any] | None:
    """The record in a node's folder; None where there is none or it makes no sense."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        state = (folder / STAMP).stat()
        return _read(folder.absolute(), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=1024)
def _read(folder: Path, *state: int) -> dict[str, Any] | None:
    record = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    sound = _fits(record, FIELDS) and record.get("schema") == SCHEMA
    sound = sound and _fits(record, {name: kind for name, kind in OPTIONAL.items() if name in record})
    sound = sound and all(_fits(facts, {"size": int, "sha256": str}) for facts in record["files"].values())
    sound = sound and all(_fits(facts, {"key": str, "digest": str}) for facts in record["inputs"].values())
    sound = sound and all(_fits(each, {"key": str, "digest": str, "when": str}) for each in record.get("adopted", []))
    return record if sound else None


def _fits(facts: Any, kinds: dict[str, Any]) -> bool:
    return isinstance(facts, dict) and all(isinstance(facts.get(name), kind) for name, kind in kinds.items())


def latest(record: dict[str, Any]) -> str:
    """When a node got its present key: made, or adopted."""
    return record["adopted"][-1]["when"] if record.get("adopted") else record.get("finished", "")


def damage(folder: Path, key: str, verify: bool) -> str | None:
    """Why a folder does not hold the node that it should; None where it does. Content is compared with `verify`."""
    record = read(folder)
    if record is None or record["key"] != key:
        return f"{STAMP} is not readable"
    for name, facts in record["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != facts["size"]:
            return f"{name} has {path.stat().st_size} bytes instead of {facts['size']}"
        if verify and file_digest(path) != facts["sha256"]:
            return f"{name} does not hold what was written"
    if verify and record["digest"] != _content(record["key"], record["files"]):
        return f"{STAMP} does not hold what was written"
    return None


def source(given: Source) -> dict[str, Any] | None:
    """The record of what a node is made from, which of raw data is its key; None where it is not there."""
    if not given.made:
        return {"key": given.key, "digest": given.key}
    return read(store.find(given.path) or Path(given.path))


def inputs(node: Node) -> dict[str, dict[str, str]]:
    """What is recorded of the inputs of a node. Raises InputError where one is not there."""
    found = {}
    for name, given in node.inputs.items():
        if (now := source(given)) is None:
            raise InputError(f"input {given.path} is not there any more; start again")
        found[name] = {"path": given.path, "key": given.key, "digest": now["digest"]}
    return found


def replaced_input(node: Node, folder: Path) -> str | None:
    """The input of a node, in `folder`, that is not as it was read then, by its digest; one that is missing may be."""
    recorded = (read(folder) or {"inputs": {}})["inputs"]
    for name, given in node.inputs.items():
        now = source(given)
        if now and recorded.get(name, {}).get("digest") != now["digest"]:
            return f"its input {given.path} is not the one that it was made from"
    return None


def write(folder: Path, record: dict[str, Any]) -> None:
    """Write a folder's last file, `record` with sizes and digests of what lies there, and all through to the disk."""
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    record = {**record, "files": files, "digest": _content(record["key"], files)}
    (folder / STAMP).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        flush(path)


def _content(key: str, files: dict[str, Any]) -> str:
    return code_digest.digest({"key": key, "files": files})


def machine() -> dict[str, str | None]:
    """The node that this process is on, as Slurm or profiles/kubernetes calls it, and its GPUs; Slurm's job."""
    node = os.environ.get("SLURMD_NODENAME") or os.environ.get("DKD_NODE") or platform.node()
    return {"node": node, "gpu": os.environ.get(locks.VISIBLE), "slurm_job": os.environ.get("SLURM_JOB_ID")}


def surroundings() -> dict[str, Any]:
    """What a result should not depend on, but might: commit, versions, platform."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    installed = {each.name.lower(): each.version for each in importlib.metadata.distributions() if each.name}
    versions = {"python": platform.python_version(), **{name: installed.get(name) for name in LIBRARIES}}
    git = {"commit": commit, "dirty": None if changes is None else bool(changes)}
    return {"git": git, "versions": versions, "platform": platform.platform()}


def _git(*arguments: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()
