"""Brings one file over HTTP: what has come so far is kept and gone on with, and what came is checked.

Knows nothing of data sets and archives. `FILE.part` holds what has come, `FILE.source` what the server said of it;
FILE itself appears only when it is whole and its digest is right.
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
# Tries in a row that bring nothing new, and the seconds before each of them.
PAUSES = (1.0, 2.0, 4.0, 8.0)
BY_HAND = "a login or licence may stand in the way: get it by hand and name its folder with --from"


class _BrokenOffError(Exception):
    """The connection ended before the file did."""


def download(url: str, path: Path, digest: str | None = None) -> None:
    """Bring `url` to `path`, going on from what an earlier call has left; `digest` is "md5:..." or the like.

    Raises InputError where the server refuses, has no such file, answers with a web page, keeps breaking off, or the
    file has another digest; a file with a wrong digest is removed.
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
        except _BrokenOffError as error:
            idle = 0 if received(path) > furthest else idle + 1
            furthest = max(furthest, received(path))
            if idle > len(PAUSES):
                what = f"broke off after {furthest} bytes" if furthest else "can't be reached"
                hint = "call again to go on, or name a mirror with --from"
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
    """How many bytes of `path` have come so far."""
    part = path.with_name(path.name + ".part")
    return next((place.stat().st_size for place in (path, part) if place.exists()), 0)


def verify(path: Path, digest: str | None) -> None:
    """Raise InputError where the content of `path` has not the digest "ALGORITHM:HEX"; None accepts all."""
    if digest is None:
        return
    name, expected = digest.split(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()
    if found != expected:
        raise InputError(f"not the file that is documented: {name} is {found}, expected {expected}")


def _receive(url: str, part: Path, note: Path) -> None:
    """Go on with `part` where the server's file is still the same one, else start anew."""
    have = part.stat().st_size if part.exists() else 0
    try:
        seen = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        seen, have = {}, 0
    if have and have == seen.get("total"):
        return
    headers = {"User-Agent": "dkd", "Accept-Encoding": "identity"}
    if have and seen.get("validator"):
        headers |= {"Range": f"bytes={have}-", "If-Range": seen["validator"]}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        part.unlink(missing_ok=True)
        raise _BrokenOffError("the server's file is shorter than what it sent before") from None
    except ValueError as error:
        raise InputError(f"{url}: not an address ({error})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(getattr(error, "reason", error)) from None
    with response:
        if response.headers.get_content_type() == "text/html":
            raise InputError(f"{url}: answered with a web page, not a file; {BY_HAND}")
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdecimal() else None
        if response.status == 206:
            begin, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            if begin.partition("-")[0] != str(have) or whole not in ("*", str(seen.get("total"))):
                part.unlink()
                raise _BrokenOffError("the server sent another part than it was asked for")
            total = seen.get("total")
        else:
            have = 0
            part.write_bytes(b"")
            tag = response.headers.get("ETag", "")
            validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
            note.write_text(json.dumps({"validator": validator, "total": total}) + "\n", encoding="utf-8")
        name = part.name.removesuffix(".part")
        with (
            part.open("ab") as file,
            tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True, disable=None, leave=False) as bar,
        ):
            while True:
                try:
                    chunk = response.read(CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _BrokenOffError(error) from None
                if not chunk:
                    break
                file.write(chunk)
                bar.update(len(chunk))
                have += len(chunk)
    if total is not None and have != total:
        raise _BrokenOffError(f"{total} bytes were announced")


def _refusal(error: urllib.error.HTTPError) -> str:
    said = f"{error.code} {' '.join(str(error.reason).split())}"
    if error.code in (401, 403, 407, 451):
        return f"refused ({said}); {BY_HAND}"
    if error.code in (404, 410):
        return f"is not there ({said}); name a mirror, or a folder with the archive, with --from"
    return f"failed ({said}); call again later, or name a mirror with --from"
