"""The colour of every label; knows neither pictures nor what labels are called.

Up to eight labels get the colours of Okabe and Ito, which the colour-blind can tell apart (as the embedded data set);
more get those of the VOC devkit, which tools know.
"""

from dkd.data.classes import VOID

FEW = (0, 0, 0, 230, 159, 0, 86, 180, 233, 0, 158, 115, 240, 228, 66, 0, 114, 178, 204, 121, 167, 213, 94, 0)
VOID_COLOUR = (224, 224, 192)


def colours(labels: int) -> list[tuple[int, int, int]]:
    """RGB of the labels 0..255 of a data set with so many labels, background among them; 255 is void."""
    if labels <= len(FEW) // 3:
        known = [FEW[3 * k : 3 * k + 3] for k in range(len(FEW) // 3)]
        table = [known[label] if label < len(known) else _voc(label) for label in range(256)]
    else:
        table = [_voc(label) for label in range(256)]
    table[VOID] = VOID_COLOUR
    return table


def _voc(label: int) -> tuple[int, int, int]:
    """The devkit's map: three bits of the label at a time, from the highest bit of red, green and blue downwards."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red |= (label & 1) << shift
        green |= (label >> 1 & 1) << shift
        blue |= (label >> 2 & 1) << shift
        label >>= 3
    return red, green, blue
