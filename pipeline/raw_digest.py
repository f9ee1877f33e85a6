"""The digest of a raw data set's content, with a cache that spares reading unchanged files again.

Reading writes nothing; a run calls `save` once it holds the lock of the working directory.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dkd.errors import InputError
from dkd.files import digest as file_digest
from dkd.files import replacing
from pipeline.code_digest import digest

CACHE = Path(".dkd/raw")
"""Where it says of each file its size, time, inode and digest: it is read again where one of the former differs."""
JUST_WRITTEN = 2.0
"""Seconds in which a file may change again without its modification time telling."""
_unsaved: dict[Path, str] = {}


def of(root: Path, parts: Iterable[str], fresh: bool) -> str:
    """sha256 over the relative paths and contents of the `parts` (files or folders) of a raw data set under `root`.

    Hidden files do not count; where `root` lies does not either. `fresh` reads all files, whatever the cache says.
    Raises InputError where a part is missing.
    """
    if not root.is_dir():
        raise InputError(f"data set not found at {root}: put it there, or set data.root to where it lies")
    files: dict[str, Path] = {}
    for part in parts:
        if not (root / part).exists():
            raise InputError(f"{root} has no {part}: the data set is incomplete, or data.root names the wrong folder")
        files |= {path.relative_to(root).as_posix(): path for path in _files(root / part)}
    cache = CACHE / f"{digest(str(root.resolve()))[:16]}.json"
    known, started = _read(cache) if not fresh else {}, time.time()
    found = {name: path.stat() for name, path in files.items()}
    states = {name: [state.st_size, state.st_mtime_ns, state.st_ino] for name, state in found.items()}
    unread = [name for name in sorted(files) if known.get(name, [])[:3] != states[name]]
    with ThreadPoolExecutor() as pool:
        read = dict(zip(unread, pool.map(lambda name: file_digest(files[name]), unread), strict=True))
    content = {name: read.get(name) or known[name][3] for name in files}
    if unread or known.keys() != files.keys():
        old = [name for name in files if states[name][1] / 1e9 < started - JUST_WRITTEN]
        _unsaved[cache] = json.dumps({name: [*states[name], content[name]] for name in old})
    return digest(content)


def save() -> None:
    """Write what was read since the last call to the cache."""
    for path, text in _unsaved.items():
        with replacing(path) as file:
            file.write_text(text, encoding="utf-8")
    _unsaved.clear()


def _files(part: Path) -> Iterator[Path]:
    if part.is_file():
        yield part
    for folder, folders, names in os.walk(part, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _read(cache: Path) -> dict[str, list]:
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        known = json.loads(cache.read_text(encoding="utf-8"))
        return {name: entry for name, entry in known.items() if len(entry) == 4 and len(entry[3]) == 64}
    return {}
