"""The colour of every label; knows neither images nor class names.

Data sets of up to eight labels get the palette of Okabe and Ito, which is safe for colour-blind readers; larger ones
get the palette of the VOC devkit, which other tools use as well.
"""

from dkd.data.classes import VOID, VOID_COLOUR

FEW = (0, 0, 0, 230, 159, 0, 86, 180, 233, 0, 158, 115, 240, 228, 66, 0, 114, 178, 204, 121, 167, 213, 94, 0)


def colours(labels: int) -> list[tuple[int, int, int]]:
    """RGB colours of the labels 0..255 for a data set of `labels` labels, background included; 255 is void."""
    if labels <= len(FEW) // 3:
        known = [FEW[3 * k : 3 * k + 3] for k in range(len(FEW) // 3)]
        table = [known[label] if label < len(known) else _voc(label) for label in range(256)]
    else:
        table = [_voc(label) for label in range(256)]
    table[VOID] = VOID_COLOUR
    return table


def _voc(label: int) -> tuple[int, int, int]:
    """Colour map of the VOC devkit: three bits of the label at a time fill red, green and blue from the highest bit."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red |= (label & 1) << shift
        green |= (label >> 1 & 1) << shift
        blue |= (label >> 2 & 1) << shift
        label >>= 3
    return red, green, blue
