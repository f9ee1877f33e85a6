"""Unpacks chosen files of a .zip or .tar[.gz] archive and nothing else; an archive that tries to escape is refused.

Knows nothing of data sets. Contents are copied, members are never restored as they are: no link, device, owner or mode
of an archive reaches the disk. Zip contents are checked against their CRC, gzip contents against theirs.
"""

import posixpath
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from tqdm import tqdm

from dkd.errors import InputError

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OverflowError, RuntimeError, UnicodeError)


class _Member(NamedTuple):
    """One entry: `link` is where it points, seen from the archive's root; `open` gives its content."""

    name: str
    kind: str
    link: str
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, out: Path, files: dict[str, str]) -> None:
    """Copy members whose whole name matches a pattern of `files` to `out`/the template beside it.

    Raises InputError where the archive is damaged, holds an absolute path, a `..`, a device, a link that leads out, or
    a link in place of a wanted file, or where a pattern matches nothing. What was written until then stays.
    """
    missing = set(files)
    try:
        members = (_zip if archive.suffix == ".zip" else _tar)(archive)
        with tqdm(desc=f"unpack {archive.name}", unit=" files", disable=None, leave=False) as bar:
            for member in members:
                name = _checked(archive, member)
                pattern, match = next(((p, m) for p in files if (m := re.fullmatch(p, name))), (None, None))
                if match is None or member.kind == "folder":
                    continue
                if member.kind == "link":
                    raise InputError(f"{archive}: {member.name} is a link, expected a file; the archive is not used")
                target = out / _inside(archive, match.expand(files[pattern]))
                target.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                missing.discard(pattern)
                bar.update()
    except (*DAMAGED, OSError) as error:
        # Faults of the disk carry a number; those of the archive (gzip's are OSErrors too) have none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise InputError(f"{archive}: not an archive, or damaged ({reason}); remove it and call again") from None
    if missing:
        raise InputError(f"{archive}: holds nothing that is called {min(missing)}; not the archive that is expected")


def _tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path) as archive:
        for member in archive:
            link = member.linkname
            if member.issym():
                link = posixpath.join(posixpath.dirname(member.name), link)
            linked = member.issym() or member.islnk()
            kind = "link" if linked else "folder" if member.isdir() else "file" if member.isreg() else "device"
            yield _Member(member.name, kind, link, lambda member=member: archive.extractfile(member))
        # gzip checks its CRC at the end of the stream, which the archive's own end comes before.
        while archive.fileobj.read(1 << 20):
            pass


def _zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            mode, link = member.external_attr >> 16, ""
            linked = stat.S_ISLNK(mode)
            if linked:
                with archive.open(member) as file:
                    link = posixpath.join(posixpath.dirname(member.filename), file.read(4096).decode())
            plain = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
            kind = "link" if linked else "folder" if member.is_dir() else "file" if plain else "device"
            yield _Member(member.filename, kind, link, lambda member=member: archive.open(member))


def _checked(archive: Path, member: _Member) -> str:
    """Name of a member, normalised; InputError where it, or where it points to, lies outside."""
    if member.kind == "device":
        raise InputError(f"{archive}: {member.name!r} is a device; the archive is not used")
    if member.kind == "link":
        _inside(archive, posixpath.normpath(member.link), member.name)
    return _inside(archive, member.name)


def _inside(archive: Path, name: str, link: str | None = None) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or re.match("[A-Za-z]:", name) or "\0" in name:
        what = f"link {link!r} leads to {name!r}, which" if link else f"{name!r}"
        raise InputError(f"{archive}: {what} lies outside of the archive; it is not used")
    return str(path)
