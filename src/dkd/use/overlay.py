"""Draws labels over an image, with a legend; knows pixels, names and colours, no networks and no files."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dkd.data.classes import VOID

LARGEST = 2048
"""Longest side of an overlay in pixels, without the legend."""
OPACITY = 0.5


def draw(
    image: np.ndarray, labels: np.ndarray, names: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> Image.Image:
    """Image (H, W, 3) uint8 and labels (H, W) uint8 -> image with coloured and outlined classes, legend below.

    Background (0) and void (255) keep their pixels. The legend lists classes by area, largest first.
    """
    scale = min(1.0, LARGEST / max(labels.shape))
    height, width = (max(1, round(side * scale)) for side in labels.shape)
    shown = np.asarray(Image.fromarray(image).resize((width, height)), dtype=np.float32)
    mask = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    table = np.array(colours, dtype=np.float32)
    classes = ((mask != 0) & (mask != VOID))[..., None]
    mixed = np.where(classes, (1 - OPACITY) * shown + OPACITY * table[mask], shown)
    mixed[_outlines(mask)] = 255
    return _with_legend(Image.fromarray(mixed.astype(np.uint8)), labels, names, colours)


def _outlines(mask: np.ndarray) -> np.ndarray:
    """Pixels (H, W) bool whose right or lower neighbour has another label."""
    edge = np.zeros(mask.shape, dtype=bool)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    return edge


def _with_legend(
    image: Image.Image, labels: np.ndarray, names: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> Image.Image:
    counts = np.bincount(labels.ravel(), minlength=256)[: len(names)]
    present = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
    text = 11 + max(0, image.width - 320) // 100
    font = ImageFont.load_default(text)
    pad, box = text // 2, text
    words = {label: f"{names[label]} {_share(counts[label] / labels.size)}" for label in present}
    widths = {label: round(box + pad + font.getlength(words[label]) + 2 * pad) for label in present}
    width = max(image.width, 2 * pad + max(widths.values()))
    rows, left = [[]], width
    for label in present:
        if rows[-1] and left < widths[label] + pad:
            rows.append([])
            left = width
        rows[-1].append(label)
        left -= widths[label]
    line = text + pad
    canvas = Image.new("RGB", (width, image.height + pad + line * len(rows)), "white")
    canvas.paste(image, ((width - image.width) // 2, 0))
    pen = ImageDraw.Draw(canvas)
    for row, members in enumerate(rows):
        x, y = pad, image.height + pad + row * line
        for label in members:
            pen.rectangle((x, y, x + box - 2, y + box - 2), fill=colours[label], outline="black")
            pen.text((x + box + pad, y + box // 2), words[label], fill="black", font=font, anchor="lm")
            x += widths[label]
    return canvas


def _share(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.01 else "<1%"
