"""What lies on disk: puts finished nodes into place, brings wanted ones back, sets damaged or unwanted ones aside.

Nothing is deleted: unwanted nodes go to .dkd/attic, damaged ones to .dkd/damaged; when a folder went there is its own
time. Knows nothing of what is in a node.
"""

import fcntl
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import provenance
from pipeline.plan import FOLDERS, STAMP, Node, Plan, in_use

ATTIC = Path(".dkd/attic")
DAMAGED = Path(".dkd/damaged")
SCRATCH = Path(".dkd/scratch")
LOCK = Path(".dkd/lock")
WORK = Path(".dkd/work")
"""By key: states of unfinished trainings."""
NODE = re.compile(r".+-[0-9a-f]{12}")


def slug(folder: str) -> str:
    """A folder's name as a single file name."""
    return folder.replace("/", "__")


@contextmanager
def lock(folder: str, wait: bool = True) -> Iterator[bool]:
    """Hold a node's lock, which the system frees with the process; yields False where it is held and not waited for."""
    LOCK.mkdir(parents=True, exist_ok=True)
    with (LOCK / slug(folder)).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def put(source: Path, folder: Path) -> None:
    """Rename a finished node into place; whatever lies there unfinished is set aside."""
    if folder.exists():
        clear(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Onto an empty folder (Snakemake makes one for each output) this is one step as well.
    source.rename(folder)


def clear(folder: Path) -> None:
    """Empty a place where no finished node lies: folders without files are removed, others are set aside."""
    if any(path.is_file() for path in folder.rglob("*")):
        set_aside(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def set_aside(folder: Path) -> None:
    """Move a folder to .dkd/damaged under a name of its own."""
    aside = DAMAGED / f"{folder}-{uuid.uuid4().hex[:6]}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(aside)
    os.utime(aside)


def tidy(plan: Plan, verify: bool = False) -> None:
    """Make "exists" mean "valid" for every node of the plan, before a run decides what is to be done.

    Wanted nodes come back from the attic; damaged ones, and all that was made from them, are set aside. With `verify`
    every file is read, else damage shows in sizes only.
    """
    for top in FOLDERS:
        # DVC needs each output to exist, also that of a stage that no run needs.
        if not (gitignore := Path(top, ".gitignore")).is_file():
            gitignore.parent.mkdir(parents=True, exist_ok=True)
            gitignore.touch()
    for node in plan.nodes.values():
        present = Path(node.folder, STAMP).exists()
        if provenance.fault(plan, node, verify=verify) if present else (ATTIC / node.folder / STAMP).exists():
            # Where another run holds the node, it is that run's to mend.
            with lock(node.folder, wait=False) as free:
                if free:
                    mend(plan, node, verify)


def mend(plan: Plan, node: Node, verify: bool = False) -> None:
    """Bring a node back from the attic, or set it aside; under its lock, so what was seen before is looked at again."""
    folder, kept = Path(node.folder), ATTIC / node.folder
    if not (folder / STAMP).exists() and (kept / STAMP).exists():
        put(kept, folder)
    if (folder / STAMP).exists() and (reason := provenance.fault(plan, node, verify=verify)):
        set_aside(folder)
        print(f"dkd: {folder} set aside in {DAMAGED} and made again: {reason}", file=sys.stderr)


def prune(plan: Plan) -> None:
    """Move nodes that neither this plan nor a live run asks for into the attic; drop what killed jobs left behind."""
    wanted = plan.nodes.keys() | in_use()
    for folder in [path for path in nodes() if str(path) not in wanted]:
        with lock(str(folder), wait=False) as free:
            # A run that began meanwhile may want it.
            if free and str(folder) not in in_use():
                _store(folder)
    sweep()


def sweep() -> None:
    """Delete what killed jobs left behind."""
    for left in SCRATCH.glob("*"):
        with lock(left.name, wait=False) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    begun = {path.name: path for path in WORK.glob("*")}
    for folder in nodes() if begun else ():
        if folder.name[-12:] in begun and (folder / STAMP).exists():
            shutil.rmtree(begun[folder.name[-12:]], ignore_errors=True)


def _store(folder: Path) -> None:
    if (folder / STAMP).exists():
        kept = ATTIC / folder
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(kept)
        os.utime(kept)
    drop_empty(folder)


def drop_empty(folder: Path) -> None:
    """Remove a folder that holds no file, and then each folder above it that is left empty, up to where nodes lie."""
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)
    for above in folder.parents:
        if str(above) in FOLDERS:
            return
        try:
            above.rmdir()
        except OSError:
            return


def nodes(base: Path = Path()) -> Iterator[Path]:
    """The folders of all nodes that lie under `base`: the repository, or the attic."""
    for top in FOLDERS:
        for name, folders, _ in os.walk(base / top):
            here = [folder for folder in folders if NODE.fullmatch(folder)]
            yield from (Path(name, folder) for folder in here)
            folders[:] = [folder for folder in folders if folder not in here]
