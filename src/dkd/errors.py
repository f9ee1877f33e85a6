"""The exception for what the user can correct, and how it is shown; knows nothing of where it is raised."""

import errno
from pathlib import Path


class InputError(Exception):
    """A fault in what the user gave: one line that says what is wrong, where, and what to do.

    Entry points print the message as it is and exit with status 1; any other exception is a defect of ours.
    """


def one_line(error: Exception, place: Path | None = None) -> str:
    """An InputError or an OSError as one line; `place` is named where an OSError names no file."""
    if not isinstance(error, OSError):
        words = str(error)
    else:
        second = f" -> {error.filename2}" if error.filename2 else ""
        where = f"{error.filename}{second}" if error.filename is not None else place
        words = f"{where}: " if where else ""
        words += error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            words += "; free some space there and start again"
    return f"dkd: {' '.join(words.split())}"
