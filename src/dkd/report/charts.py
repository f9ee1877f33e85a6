"""Kinds of figures: lines with bands, heat maps, confusion matrices and bars; knows numbers and names, no files."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image

from dkd.use import figure
from dkd.use.figure import Figure

STYLES = {
    "finetune": ("#d55e00", (7, 4)),
    "kd": ("#0072b2", (2, 3)),
    "dkd": ("#009e73", ()),
    "joint": ("#cc79a7", (9, 3, 2, 3)),
}
"""Colour and dash of each method, told apart by the colour-blind and in grey print; others take what is left."""
OTHERS = (("#e69f00", (4, 2)), ("#56b4e9", (1, 2)), ("#882255", (6, 2, 1, 2)), ("#999933", (3, 1)))


def style(method: str) -> tuple[str, tuple[int, ...]]:
    """How a method is drawn everywhere."""
    return STYLES.get(method) or OTHERS[sum(map(ord, method)) % len(OTHERS)]


class Series(NamedTuple):
    """A line: values at x, and their standard deviation where several runs make one."""

    name: str
    method: str
    runs: Sequence[str]
    x: Sequence[float]
    y: Sequence[float | None]
    sd: Sequence[float | None] | None = None


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` or below to `high` or above."""
    span = (high - low) or 1.0
    rough = span / count
    size = 10 ** math.floor(math.log10(rough))
    each = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.floor(low / each + 1e-9), math.ceil(high / each - 1e-9)
    return [round(each * k, 10) for k in range(first, max(last, first + 1) + 1)]


def lines(
    title: str, series: Sequence[Series], x_name: str, y_name: str, marks: Sequence[float] = (), dots: bool = True
) -> Figure:
    """Lines with a band of one standard deviation; `marks` are upright lines; x is whole numbers."""
    width, height, left, right, top, bottom = 340, 230, 54, 10, 28, 38
    canvas = Figure(width, height, title)
    values = [
        (y, s or 0)
        for each in series
        for y, s in zip(each.y, each.sd or [None] * len(each.y), strict=True)
        if y is not None
    ]
    xs = [x for each in series for x in each.x]
    canvas.text(left, 12, title, 13)
    if not values:
        canvas.text(left, height / 2, "nothing to show yet", 12, fill="soft")
        return canvas
    up = ticks(min(0.0, *(y - s for y, s in values)), max(y + s for y, s in values))
    low_x, high_x = min(xs), max(max(xs), min(xs) + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        across = left + (x - low_x) / (high_x - low_x) * (width - left - right)
        return across, height - bottom - (y - up[0]) / (up[-1] - up[0]) * (height - top - bottom)

    for tick in up:
        canvas.line([at(low_x, tick), at(high_x, tick)], "faint")
        canvas.text(left - 5, at(low_x, tick)[1], f"{tick:g}", 10, "end", "soft")
    for mark in (mark for mark in marks if low_x <= mark <= high_x):
        canvas.line([at(mark, up[0]), at(mark, up[-1])], "soft", 1, (2, 3))
    along = ticks(low_x, high_x)
    for tick in sorted({math.ceil(tick) for tick in along}):
        if low_x <= tick <= high_x:
            canvas.text(at(tick, 0)[0], height - bottom + 12, f"{tick:g}", 10, "middle", "soft")
    canvas.text((left + width - right) / 2, height - 9, x_name, 11, "middle", "soft")
    canvas.text(10, (top + height - bottom) / 2, y_name, 11, "middle", "soft", turn=True)
    for each in series:
        colour, dash = style(each.method)
        points = [
            (x, y, s or 0)
            for x, y, s in zip(each.x, each.y, each.sd or [None] * len(each.y), strict=True)
            if y is not None
        ]
        with canvas.group(method=each.method, runs=" ".join(each.runs)):
            if any(s for *_, s in points):
                over, under = [at(x, y + s) for x, y, s in points], [at(x, y - s) for x, y, s in points]
                canvas.area([*over, *reversed(under)], colour, 0.18)
            canvas.line([at(x, y) for x, y, _ in points], colour, 2, dash)
            if dots:
                for x, y, s in points:
                    spread = f" ± {s:.1f}" if s else ""
                    _dot(canvas, *at(x, y), colour, f"{each.name}, {x_name} {x:g}: {y:.3g}{spread}")
    return canvas


def _dot(canvas: Figure, x: float, y: float, colour: str, tip: str) -> None:
    corners = [(x + 3.2 * math.cos(k * math.pi / 4), y + 3.2 * math.sin(k * math.pi / 4)) for k in range(8)]
    canvas.area(corners, colour, tip=tip)


def heat(title: str, method: str, runs: Sequence[str], rows: Sequence[tuple[str, int]], values: np.ndarray) -> Figure:
    """IoU in per cent over steps: rows are classes and the step that brought each; values (classes, steps), or nan."""
    cell_w, cell_h, top = 42, 18, 46
    left = 34 + max([figure.text_width(name, 11) for name, _ in rows], default=0)
    breaks = sum(a[1] != b[1] for a, b in pairwise(rows))
    canvas = Figure(
        left + cell_w * values.shape[1] + 8,
        top + cell_h * len(rows) + 6 * breaks + 8,
        title,
        method=method,
        runs=" ".join(runs),
    )
    canvas.text(2, 12, title, 13)
    for step in range(values.shape[1]):
        canvas.text(left + (step + 0.5) * cell_w, 36, f"step {step}", 10, "middle", "soft")
    y = float(top)
    for k, (name, learned) in enumerate(rows):
        first = k == 0 or rows[k - 1][1] != learned
        y += 6 if first and k else 0
        if first:
            canvas.text(2, y + cell_h / 2, f"+{learned}", 10, fill="soft")
        with canvas.group(**{"class": name}):
            canvas.text(left - 5, y + cell_h / 2, name, 11, "end")
            for step, value in enumerate(values[k]):
                if not np.isnan(value):
                    colour = figure.hex_of(value / 100, figure.SEQUENTIAL)
                    tip = f"{name}, step {step}: {value:.1f}"
                    canvas.rect(left + step * cell_w, y, cell_w - 1, cell_h - 1, colour, tip)
                    x = left + (step + 0.5) * cell_w
                    canvas.text(x, y + cell_h / 2, f"{value:.0f}", 10, "middle", figure.readable_on(colour))
        y += cell_h
    return canvas


def confusion(
    title: str, method: str, runs: Sequence[str], names: Sequence[str], base: int, counts: np.ndarray
) -> Figure:
    """Share of each true class (row) that is called what (column), in per cent; lines part base from new.

    counts (n, n) with background first; `base` of the names are of step 0, background among them.
    """
    count = len(names)
    cell = 30 if count <= 12 else 20 if count <= 30 else 4
    share = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    words = cell >= 20
    room = 12 + max((figure.text_width(name, 11) for name in names), default=0) if words else 40
    left, top = room + 16, room + 44
    side = cell * count
    canvas = Figure(left + side + 8, top + side + 8, title, method=method, runs=" ".join(runs))
    canvas.text(2, 12, title, 13)
    canvas.text(left + side / 2, 32, "called", 11, "middle", "soft")
    canvas.text(8, top + side / 2, "is", 11, "middle", "soft", turn=True)
    if words:
        for row, name in enumerate(names):
            canvas.text(left - 5, top + (row + 0.5) * cell, name, 11, "end")
            canvas.text(left + (row + 0.5) * cell, top - 5, name, 11, turn=True)
            for column, other in enumerate(names):
                value = float(share[row, column])
                colour = figure.hex_of(value / 100, figure.SEQUENTIAL)
                x, y = left + column * cell, top + row * cell
                canvas.rect(x, y, cell - 1, cell - 1, colour, f"{name} called {other}: {value:.1f}%")
                if value >= 0.5 and cell >= 30:
                    canvas.text(x + cell / 2, y + cell / 2, f"{value:.0f}", 10, "middle", figure.readable_on(colour))
    else:
        canvas.image(left, top, side, side, figure.shade(share / 100, figure.SEQUENTIAL), smooth=False)
    if base < count:
        edge = base * cell
        canvas.line([(left + edge - 0.5, top - 4), (left + edge - 0.5, top + side)], "ink", 2)
        canvas.line([(left - 4, top + edge - 0.5), (left + side, top + edge - 0.5)], "ink", 2)
        if not words:
            for middle, name in ((edge / 2, "base"), ((edge + side) / 2, "new")):
                canvas.text(left + middle, top - 8, name, 11, "middle", "soft")
                canvas.text(left - 6, top + middle, name, 11, "end", "soft")
    return canvas


def bars(title: str, unit: str, rows: Sequence[tuple[str, Sequence[tuple[str, Sequence[str], float]]]]) -> Figure:
    """Bars beside each other for every row: (class, [(method, runs, value), ...]); below 0 they go left."""
    thick, gap, top, width = 11, 7, 44, 340
    left = 12 + max((figure.text_width(name, 11) for name, _ in rows), default=0)
    height = top + sum(max(1, len(values)) * thick + gap for _, values in rows) + 6
    canvas = Figure(width, height, title)
    canvas.text(2, 12, f"{title}, {unit}" if unit else title, 13)
    values = [value for _, each in rows for *_, value in each]
    if not values:
        canvas.text(2, 34, "nothing to show yet", 12, fill="soft")
        return canvas
    along = ticks(min(0.0, *values), max(0.0, *values), 4)

    def at(value: float) -> float:
        return left + (value - along[0]) / (along[-1] - along[0]) * (width - left - 34)

    for tick in along:
        canvas.line([(at(tick), top - 4), (at(tick), height - 4)], "soft" if tick == 0 else "faint")
        canvas.text(at(tick), top - 12, f"{tick:g}", 10, "middle", "soft")
    y = float(top)
    for name, each in rows:
        with canvas.group(**{"class": name}):
            canvas.text(left - 5, y + max(1, len(each)) * thick / 2, name, 11, "end")
            for method, runs, value in each:
                with canvas.group(method=method, runs=" ".join(runs)):
                    low, high = sorted((at(0), at(value)))
                    tip = f"{name}, {method}: {value:.3g} {unit}"
                    canvas.rect(low, y, max(1, high - low), thick - 1, style(method)[0], tip)
                    canvas.text(high + 4, y + thick / 2, f"{value:.3g}", 9, fill="soft")
                y += thick
        y += gap + (thick if not each else 0)
    return canvas


def sheet(figures: Sequence[Figure], across: int = 3) -> Image.Image:
    """Figures side by side, `across` in a row, on white."""
    rows = [figures[k : k + across] for k in range(0, len(figures), across)]
    width = max(sum(each.width for each in row) for row in rows)
    canvas = Image.new("RGB", (width, sum(max(each.height for each in row) for row in rows)), "white")
    y = 0
    for row in rows:
        x = 0
        for each in row:
            canvas.paste(each.png(), (x, y))
            x += each.width
        y += max(each.height for each in row)
    return canvas.quantize(128, dither=Image.Dither.NONE)
