"""Labels of class names. Knows nothing of pixels."""

from collections.abc import Iterable

from dkd.data.classes import VOID
from dkd.errors import InputError

BACKGROUND = ("background", "_background_")
IGNORED = ("void", "ignore", "ignored", "__ignore__")
"""Names, in capitals too, by which tools call what belongs to no class, and what is not to be judged."""


def labels(names: Iterable[str], where: object) -> tuple[list[str], dict[str, int]]:
    """The class list, background first and each name once, in the order given; and the label of every name.

    Raises InputError where there is no class, or more than 254.
    """
    classes, table = ["background"], {}
    for name in names:
        if name in table:
            continue
        if name.lower() in BACKGROUND:
            table[name] = 0
        elif name.lower() in IGNORED:
            table[name] = VOID
        else:
            table[name] = len(classes)
            classes.append(name)
    if len(classes) == 1:
        raise InputError(f"{where}: no class in it; a data set needs one at least")
    if len(classes) > VOID:
        raise InputError(
            f"{where}: {len(classes) - 1} classes; masks have room for {VOID - 1}. Leave some out or join them, and "
            "export again"
        )
    return classes, table
