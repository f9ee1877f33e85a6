"""The one exception that means "the user can mend this"; knows nothing of where it is raised or shown."""


class InputError(Exception):
    """A fault in what the user gave: one line that says what is wrong, where, and what to do.

    Entry points print the message as it is and exit with status 1; any other exception is a defect of ours.
    """
