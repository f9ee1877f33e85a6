"""Words for what the user can mend, the same at every entry point; knows nothing of where faults come from."""


def sentence(error: Exception) -> str:
    """One line for an InputError or an OSError: what is wrong, with path and reason."""
    if not isinstance(error, OSError):
        words = str(error)
    elif error.filename is None:
        words = error.strerror or str(error)
    else:
        second = f" -> {error.filename2}" if error.filename2 else ""
        words = f"{error.filename}{second}: {error.strerror}"
    return f"dkd: {' '.join(words.split())}"
