"""Downloads one file over HTTP, resumes partial downloads and checks the digest.

Knows nothing of data sets and archives. `FILE.part` contains the bytes received so far, `FILE.source` what the server
said about its file. FILE itself appears only when it is complete and its digest is right.
"""

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from dkd.errors import InputError

CHUNK = 1 << 20
TIMEOUT = 60.0
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt; the count starts again when an attempt receives something."""
BY_HAND = "a login or licence may be needed: download it by hand and name its folder with --from"


class _InterruptedError(Exception):
    """The connection ended before the file did."""


def download(url: str, path: Path, digest: str | None) -> None:
    """Download `url` to `path`, resuming what an earlier call has left; `digest` is "md5:..." or the like.

    Raises InputError where the server refuses, has no such file, sends a web page or keeps interrupting, or the file
    has another digest; a file with a wrong digest is removed.
    """
    part, note = (path.with_name(path.name + end) for end in (".part", ".source"))
    furthest, idle = received(path), 0
    while True:
        try:
            _receive(url, part, note)
            break
        except urllib.error.HTTPError as error:
            error.close()
            raise InputError(f"{url}: {_refusal(error)}") from None
        except _InterruptedError as error:
            idle = 0 if received(path) > furthest else idle + 1
            furthest = max(furthest, received(path))
            if idle > len(PAUSES):
                what = f"interrupted after {furthest} bytes" if furthest else "can't be reached"
                hint = "call again to resume, or name a mirror with --from"
                raise InputError(f"{url}: {what} ({error}); {hint}") from None
            time.sleep(PAUSES[max(idle - 1, 0)])
    try:
        verify(part, digest)
    except InputError as error:
        part.unlink()
        raise InputError(f"{url}: {error}; it was removed") from None
    finally:
        note.unlink(missing_ok=True)
    part.replace(path)


def received(path: Path) -> int:
    """How many bytes of `path` have been received so far."""
    part = path.with_name(path.name + ".part")
    return next((place.stat().st_size for place in (path, part) if place.exists()), 0)


def verify(path: Path, digest: str | None) -> None:
    """Raise InputError where the content of `path` does not have the digest "ALGORITHM:HEX"; None accepts all."""
    if digest is None:
        return
    name, expected = digest.split(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()
    if found != expected:
        raise InputError(f"not the documented file: {name} is {found}, expected {expected}")


def _receive(url: str, part: Path, note: Path) -> None:
    """Resume `part` where the server's file is still the same one, otherwise start again."""
    have = part.stat().st_size if part.exists() else 0
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known, have = {}, 0
    if have and have == known.get("total"):
        return
    with _request(url, part, have, known.get("validator")) as response:
        if response.headers.get_content_type() == "text/html":
            raise InputError(f"{url}: the server sent a web page, not a file; {BY_HAND}")
        if response.status == 206:
            begin, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            if begin.partition("-")[0] != str(have) or whole not in ("*", str(known.get("total"))):
                part.unlink()
                raise _InterruptedError("the server sent another part than the one requested")
            total = known.get("total")
        else:
            have = 0
            part.write_bytes(b"")
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdecimal() else None
            tag = response.headers.get("ETag", "")
            validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
            note.write_text(json.dumps({"validator": validator, "total": total}) + "\n", encoding="utf-8")
        have = _append(response, part, have, total)
    if total is not None and have != total:
        raise _InterruptedError(f"the server announced {total} bytes")


def _request(url: str, part: Path, have: int, validator: str | None) -> http.client.HTTPResponse:
    """Request `url`, from byte `have` on where `validator` identifies the file that these bytes belong to."""
    headers = {"User-Agent": "dkd", "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        part.unlink(missing_ok=True)
        raise _InterruptedError("the server's file is shorter than what it sent before") from None
    except ValueError as error:
        raise InputError(f"{url}: not an address ({error})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(getattr(error, "reason", error)) from None


def _append(response: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> int:
    """Append what the server sends to `part`, which has `have` bytes; its size afterwards."""
    name = part.name.removesuffix(".part")
    with (
        part.open("ab") as file,
        tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True, disable=None, leave=False) as bar,
    ):
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _InterruptedError(error) from None
            if not chunk:
                return have
            file.write(chunk)
            bar.update(len(chunk))
            have += len(chunk)


def _refusal(error: urllib.error.HTTPError) -> str:
    status = f"{error.code} {' '.join(str(error.reason).split())}"
    if error.code in (401, 403, 407, 451):
        return f"access denied ({status}); {BY_HAND}"
    if error.code in (404, 410):
        return f"not found ({status}); name a mirror, or a folder with the archive, with --from"
    return f"failed ({status}); call again later, or name a mirror with --from"
