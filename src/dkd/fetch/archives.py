"""Unpacks chosen files of a .zip or .tar[.gz] archive.

Knows nothing of data sets. Only the content of regular files is copied, to names that the caller chooses: no path,
link, device, owner or mode of an archive reaches the disk. The CRC of zip and gzip contents is checked.
"""

import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from dkd.errors import InputError

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OverflowError, RuntimeError, UnicodeError)

Members = Iterator[tuple[str, bool, Callable[[], IO[bytes]]]]
"""Of each member: its name, whether it is a regular file, and what opens its content."""


def unpack(archive: Path, out: Path, files: dict[str, str]) -> None:
    """Copy members whose whole name matches a pattern of `files` to `out`/the template that is its value.

    Raises InputError where the archive is damaged, a matching member is no regular file or would be written outside
    `out`, or a pattern matches nothing. Files written until then stay.
    """
    missing = set(files)
    try:
        members = (_zip if archive.suffix == ".zip" else _tar)(archive)
        for name, regular, opened in tqdm(members, desc=f"unpack {archive.name}", disable=None, leave=False):
            pattern, match = next(((p, m) for p in files if (m := re.fullmatch(p, name))), (None, None))
            if match is None:
                continue
            target = out / match.expand(files[pattern])
            if not regular:
                raise InputError(f"{archive}: {name} is no regular file; the archive is not used")
            if not target.resolve().is_relative_to(out.resolve()):
                raise InputError(f"{archive}: {name} would be written outside {out}; the archive is not used")
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened() as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            missing.discard(pattern)
    except (*DAMAGED, OSError) as error:
        # Errors of the disk have a number; those of the archive (gzip's are OSErrors too) have none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise InputError(f"{archive}: not an archive, or damaged ({reason}); remove it and call again") from None
    if missing:
        raise InputError(f"{archive}: contains no file {min(missing)}; it is not the expected archive")


def _tar(path: Path) -> Members:
    with tarfile.open(path) as archive:
        for member in archive:
            # Some tools write "./NAME".
            yield str(PurePosixPath(member.name)), member.isreg(), partial(archive.extractfile, member)
        # gzip checks its CRC at the end of the stream, which lies behind the end of the tar archive.
        while archive.fileobj.read(1 << 20):
            pass


def _zip(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            regular = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG) and not member.is_dir()
            yield str(PurePosixPath(member.filename)), regular, partial(archive.open, member)
