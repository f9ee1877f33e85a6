"""Obtains a benchmark: download, check, unpack, make the layout, check that it is complete.

Knows the order of these steps and what to keep when one fails; `sources` knows the archives, `layout` the files that
are made of them. Archives and the unfinished tree lie in `.NAME.fetch` beside the result, which appears only when it
is complete.
"""

import fcntl
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from dkd.data import reader
from dkd.errors import InputError
from dkd.fetch import archives, layout
from dkd.fetch.download import download, received, verify
from dkd.fetch.sources import BENCHMARKS, Source

log = logging.getLogger(__name__)


def obtain(name: str, out: Path, source: str | None, masks: Path | None) -> None:
    """Make data set `name` (of BENCHMARKS) at `out`; does nothing where it is complete.

    `source` is a folder with the archives or the address of one. `masks` (voc2012) is a folder or zip
    SegmentationClassAug that replaces SBD's archive. The next call continues one that was interrupted. Raises
    InputError where a login, a library, a file or disk space is missing, a file is not the documented one, or `out`
    contains something else.
    """
    out, benchmark = out.resolve(), BENCHMARKS[name]
    work = out.with_name(f".{out.name}.fetch")
    if out.exists() and any(out.iterdir()):
        _check_existing(name, out)
        shutil.rmtree(work, ignore_errors=True)
        log.info("%s: %s is complete (%s); nothing to do", name, out, _counts(name))
        return
    sources = benchmark.sources[:1] if masks is not None else benchmark.sources
    folder = None if source is None or "://" in source else Path(source)
    _check_masks(name, masks)
    _check_sources(name, sources, source, folder)
    log.info("%s: %s", name, benchmark.terms)
    _check_space(name, out, benchmark.unpacked, [] if folder else sources, work)
    with _exclusive(work):
        tree = work / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        for each in sources:
            archive = _check_archive(each, folder) if folder else _downloaded(each, source, work)
            archives.unpack(archive, tree, each.files)
        if masks is not None:
            _copy_masks(masks, tree / layout.READY_MASKS)
        layout.finish(name, tree)
        if problem := layout.problem(name, tree):
            raise InputError(f"{name}: the archives do not make a complete data set ({problem})")
        tree.replace(out)
        shutil.rmtree(work)
    log.info("%s: %s contains %s", name, out, _counts(name))


def _counts(name: str) -> str:
    return ", ".join(f"{count} images {split}" for split, count in BENCHMARKS[name].counts.items())


def _check_existing(name: str, out: Path) -> None:
    if name == "cityscapes":
        layout.write_train_ids(out)
    if problem := layout.problem(name, out):
        raise InputError(f"{out}: exists but is not a complete {name} ({problem}); name another folder with --out")


def _check_masks(name: str, masks: Path | None) -> None:
    if masks is None:
        if name == "voc2012" and find_spec("scipy") is None:
            raise InputError(
                "voc2012: SBD's labels are MATLAB files, which scipy reads: pip install 'dkd[sbd]', or name a ready "
                "SegmentationClassAug with --masks"
            )
    elif name != "voc2012":
        raise InputError(f"--masks: only voc2012 takes ready masks, not {name}")
    elif not masks.exists():
        raise InputError(f"{masks}: No such file or directory (--masks)")
    elif not (masks.is_dir() or masks.is_file()):
        raise InputError(f"{masks}: is neither a folder nor a file (--masks)")


def _check_sources(name: str, sources: Sequence[Source], source: str | None, folder: Path | None) -> None:
    page = BENCHMARKS[name].page
    for each in sources:
        if folder is not None and not (folder / each.name).is_file():
            raise InputError(f"{folder / each.name}: missing; get it from {each.url or page}")
        if source is None and each.url is None:
            raise InputError(
                f"{name}: a login is needed. Register at {page}, download {' and '.join(x.name for x in sources)} into "
                "one folder, and name it with --from"
            )


def _check_space(name: str, out: Path, unpacked: int, sources: Iterable[Source], work: Path) -> None:
    need = unpacked + sum(max(each.size - received(work / each.name), 0) for each in sources)
    place = next(folder for folder in out.parents if folder.exists())
    free = shutil.disk_usage(place).free
    if free < need:
        raise InputError(
            f"{out}: {name} needs {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; make room, or name another disk "
            "with --out"
        )


@contextmanager
def _exclusive(work: Path) -> Iterator[None]:
    """The work folder, locked for this process; at the end it is removed if it contains no archive."""
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n")
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{work}: another fetch is running there; wait until it has ended") from None
        try:
            yield
        finally:
            shutil.rmtree(work / "tree", ignore_errors=True)
            if work.exists() and {file.name for file in work.iterdir()} <= {".gitignore", "lock"}:
                shutil.rmtree(work)


def _check_archive(source: Source, folder: Path) -> Path:
    """The user's archive, whose content is checked."""
    archive = folder / source.name
    try:
        verify(archive, source.digest)
    except InputError as error:
        raise InputError(f"{archive}: {error}") from None
    return archive


def _downloaded(source: Source, mirror: str | None, work: Path) -> Path:
    archive = work / source.name
    if not archive.exists():
        address = source.url if mirror is None else f"{mirror.rstrip('/')}/{source.name}"
        download(address, archive, source.digest)
    return archive


def _copy_masks(masks: Path, out: Path) -> None:
    """Copy the masks of a folder or zip SegmentationClassAug to `out`; InputError where one can't be read as a mask."""
    if masks.is_dir():
        inner = masks / layout.MASKS
        out.mkdir(parents=True)
        for path in (inner if inner.is_dir() else masks).glob("*.png"):
            shutil.copyfile(path, out / path.name)
        if not any(out.iterdir()):
            raise InputError(f"{masks}: contains neither .png files nor a folder {layout.MASKS} with some")
    else:
        archives.unpack(masks, out, {rf"(?:.*/)?{layout.MASKS}/(\w+\.png)": r"\1"})
    for path in tqdm(sorted(out.iterdir()), desc="masks", disable=None, leave=False):
        try:
            reader.read_mask(path, {})
        except InputError as error:
            raise InputError(str(error).replace(str(path), str(masks / path.name))) from None
