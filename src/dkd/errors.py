"""The exception for errors that the user can correct, and the line that it is shown as."""

import errno
import json
from pathlib import Path
from typing import Any


class InputError(Exception):
    """An error in the user's input: one line that says what is wrong, where, and what to do.

    Entry points print the line and exit with status 1; any other exception except OSError is a bug.
    """


def shown(value: Any) -> str:
    """A value as an error shows it: as JSON, which is printable, cut where it is long."""
    try:
        return shorten(json.dumps(value, default=str))
    except RecursionError:
        return f"a {type(value).__name__} in very many levels"


def shorten(text: str) -> str:
    """A text of any length as an error shows it."""
    return text if len(text) <= 80 else f"{text[:80]}..."


def one_line(error: Exception, place: Path | None) -> str:
    """An InputError or an OSError as one line; `place` stands in where an OSError names no file."""
    if not isinstance(error, OSError):
        words = str(error)
    else:
        second = f" -> {error.filename2}" if error.filename2 else ""
        where = f"{error.filename}{second}" if error.filename is not None else place
        words = f"{where}: " if where else ""
        words += error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            words += f"; free some space{' there' if where else ''} and start again"
    return f"dkd: {' '.join(words.split())}"
