"""Kinds of charts: curves with bands, heat maps, confusion matrices and bars.

Knows numbers and names, not where they come from. Lengths are inches.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from dkd.report.sheet import CHARACTER, WIDTH, Chart, Style
from dkd.report.svg import Marks
from dkd.use.figure import INK, SOFT

HEIGHT = 2.3
"""Of a chart of curves."""
GAP = 0.35
"""Between classes of different steps, in rows."""
LABELLED = 150
"""Most bars of a chart that have their value beside them."""
APART, SPREAD = 0.06, 0.3
"""Between the markers of two curves at the same x, and most between the first curve and the last."""


class Series(NamedTuple):
    """A curve: values at x, None where there is none, and their standard deviation where several runs make one."""

    name: str
    method: str
    runs: Sequence[str]
    x: Sequence[float]
    y: Sequence[float | None]
    sd: Sequence[float | None] | None


class Bar(NamedTuple):
    """The value of a method for one class."""

    method: str
    runs: Sequence[str]
    value: float


def curves(
    title: str,
    series: Sequence[Series],
    labels: tuple[str, str],
    looks: dict[str, Style],
    borders: Sequence[float],
    markers: bool,
) -> Chart:
    """Curves with a band of one standard deviation; a missing value is a gap.

    `labels` are those of the axes, `borders` vertical lines at x. With `markers`, curves are set a little apart, so
    that equal values do not hide each other, and the vertical axis need not begin at 0; without, only a value between
    gaps has one.
    """
    apart = min(APART, SPREAD / len(series)) if markers else 0.0
    reach = apart * (len(series) - 1) / 2

    def draw(area: Figure | SubFigure, marks: Marks) -> None:
        axes = _axes(area)
        axes.grid(axis="y")
        for border in borders:
            axes.axvline(border, color=SOFT, linewidth=0.6, linestyle=(0, (1, 2)))
        for k, each in enumerate(series):
            _curve(axes, marks, each, looks[each.method], labels[0], markers, apart * k - reach)
        low, high = axes.dataLim.intervaly
        room = 0.06 * (high - low) or 1.0
        ends = (low - room, high + room) if markers else (1.06 * min(0.0, low), 1.06 * high if high > 0 else 1.0)
        axes.set(xlabel=labels[0], ylabel=labels[1], ylim=ends)
        # Charts of the same steps have the same axis, wherever values are missing.
        first, last = (end(end(each.x) for each in series) for end in (min, max))
        margin = reach + 0.05 * (last - first or 1)
        axes.set_xlim(first - margin, last + margin)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(6))

    return Chart(title, WIDTH, HEIGHT, draw, tuple(dict.fromkeys(each.method for each in series)), {})


def _curve(axes: Axes, marks: Marks, series: Series, look: Style, x_label: str, markers: bool, shift: float) -> None:
    """A curve, drawn `shift` to the right of its values."""
    data = {"method": series.method, "runs": " ".join(series.runs)}
    x, y = np.array(series.x, dtype=float), np.array(series.y, dtype=float)
    places, there = x + shift, np.isfinite(y)
    sd = np.zeros_like(y) if series.sd is None else np.nan_to_num(np.array(series.sd, dtype=float))
    if sd.any():
        band = axes.fill_between(places, y - sd, y + sd, where=there, color=look.colour, alpha=0.18, linewidth=0)
        marks.add(band, **data)
    [line] = axes.plot(places, y, color=look.colour, linewidth=1.4, linestyle=(0, look.dash) if look.dash else "-")
    marks.add(line, title=series.name, **data)
    alone = there & ~np.r_[False, there[:-1]] & ~np.r_[there[1:], False]
    shown = np.flatnonzero(there if markers else alone)
    if len(shown):
        style = {"s": 16, "color": look.colour, "marker": look.marker, "linewidths": 0, "zorder": 3}
        points = axes.scatter(places[shown], y[shown], **style)
        spread = [f" ± {sd[k]:.1f}" if sd[k] else "" for k in shown]
        titles = [f"{series.name}, {x_label} {x[k]:g}: {y[k]:.3g}{s}" for k, s in zip(shown, spread, strict=True)]
        marks.add_each(points, [{"title": title, **data} for title in titles])


def heat(title: str, method: str, runs: Sequence[str], rows: Sequence[tuple[str, int]], values: np.ndarray) -> Chart:
    """IoU in per cent: rows are classes with the step that added each, columns steps; values (classes, steps) or nan.

    Where a value is missing, nothing is drawn.
    """
    gaps = np.cumsum([k > 0 and rows[k - 1][1] != rows[k][1] for k in range(len(rows))]) * GAP
    places, names = np.arange(len(rows)) + gaps, [name for name, _ in rows]

    def draw(area: Figure | SubFigure, marks: Marks) -> None:
        axes = _axes(area)
        _bare(axes, (0, values.shape[1]), (places[-1] + 1, 0))
        axes.set_xticks(np.arange(values.shape[1]) + 0.5, [f"step {k}" for k in range(values.shape[1])])
        _class_labels(axes, marks, places + 0.5, names)
        for step in dict.fromkeys(step for _, step in rows):
            middle = np.mean([place for place, row in zip(places, rows, strict=True) if row[1] == step]) + 0.5
            axes.text(
                values.shape[1] + 0.1, middle, f"+ step {step}" if step else "base", color=SOFT, va="center", size=7
            )
        cells = [(k, step) for k, step in np.argwhere(np.isfinite(values))]
        squares = [(step, places[k], values[k, step]) for k, step in cells]
        titles = [f"{names[k]}, step {step}: {values[k, step]:.1f}" for k, step in cells]
        data = [{"title": words, "class": names[k]} for words, (k, _) in zip(titles, cells, strict=True)]
        _cells(axes, marks, squares, data, "{:.0f}", least=0.0)

    width = 0.7 + CHARACTER * max(map(len, names)) + max(0.42 * values.shape[1], 1.2)
    height = 0.5 + 0.19 * (places[-1] + 1)
    return Chart(title, width, height, draw, (), {"method": method, "runs": " ".join(runs)})


def confusion(
    title: str, method: str, runs: Sequence[str], names: Sequence[str], base: int, counts: np.ndarray
) -> Chart:
    """Share of each true class (row) that is predicted as each class (column), in per cent.

    counts (n, n) with background first; `base` of the names are of step 0, with background. A gap, or a line where
    there are many classes, separates base and new ones.
    """
    count, share = len(names), 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    size = 0.31 if count <= 12 else 0.2 if count <= 30 else 0.032
    places = np.arange(count) + GAP * (np.arange(count) >= base)

    def draw(area: Figure | SubFigure, marks: Marks) -> None:
        axes = _axes(area)
        _bare(axes, (0, places[-1] + 1), (places[-1] + 1, 0))
        axes.set_aspect("equal")
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.xaxis.set_label_position("top")
        if size < 0.1:
            _shares(axes, share, base)
            return
        axes.set_xticks(places + 0.5, names, rotation=90)
        _class_labels(axes, marks, places + 0.5, names)
        cells = [(row, column) for row in range(count) for column in range(count)]
        titles = [f"{names[row]} predicted as {names[column]}: {share[row, column]:.1f}%" for row, column in cells]
        data = [{"title": words, "class": names[row]} for words, (row, _) in zip(titles, cells, strict=True)]
        squares = [(places[column], places[row], share[row, column]) for row, column in cells]
        _cells(axes, marks, squares, data, "{:.0f}" if size > 0.3 else "", least=0.5)

    side = 0.45 + (CHARACTER * max(map(len, names)) if size > 0.1 else 0.1) + size * (count + GAP)
    return Chart(title, side, side + 0.2, draw, (), {"method": method, "runs": " ".join(runs)})


def _shares(axes: Axes, share: np.ndarray, base: int) -> None:
    """Shares in per cent (n, n) as an image, of which a page need not hold every cell."""
    count = len(share)
    axes.set(xlim=(0, count), ylim=(count, 0))
    axes.imshow(share, cmap="cividis", vmin=0, vmax=100, interpolation="none", extent=(0, count, count, 0))
    ends = [base / 2, (base + count) / 2] if base < count else []
    axes.set_xticks(ends, ["base", "new"][: len(ends)])
    axes.set_yticks(ends, ["base", "new"][: len(ends)], rotation=90, va="center")
    if base < count:
        axes.axvline(base, color="white", linewidth=1)
        axes.axhline(base, color="white", linewidth=1)


def bars(title: str, unit: str, rows: Sequence[tuple[str, Sequence[Bar]]], looks: dict[str, Style]) -> Chart:
    """Bars beside each other for every class."""
    values = [bar.value for _, each in rows for bar in each]
    height = 0.7 + 0.115 * len(values) + 0.07 * len(rows)
    # As many decimals as give the largest value three digits.
    decimals = min(4, max(0, 2 - math.floor(math.log10(max(map(abs, values)) or 1.0))))

    def draw(area: Figure | SubFigure, marks: Marks) -> None:
        axes = _axes(area)
        axes.grid(axis="x")
        axes.axvline(0, color=SOFT, linewidth=0.6)
        axes.spines["left"].set_visible(False)
        right, left = (offset_copy(axes.transData, axes.figure, x=x, units="points") for x in (3, -3))
        y, middles, corners, data = 0.0, [], [], []
        for name, each in rows:
            middles.append(y + len(each) / 2)
            for bar in each:
                corners.append([(0, y + 0.06), (bar.value, y + 0.06), (bar.value, y + 0.94), (0, y + 0.94)])
                words = f"{name}, {bar.method}: {bar.value:.3g} {unit}".rstrip()
                data.append({"title": words, "class": name, "method": bar.method, "runs": " ".join(bar.runs)})
                if len(values) <= LABELLED:
                    side, beside = ("left", right) if bar.value >= 0 else ("right", left)
                    text = axes.text(bar.value, y + 0.5, f"{bar.value:.{decimals}f}", size=6.5, color=SOFT, ha=side)
                    text.set(va="center", transform=beside, in_layout=False)
                    marks.add(text, **{key: value for key, value in data[-1].items() if key != "title"})
                y += 1
            y += 0.6
        colours = [looks[each["method"]].colour for each in data]
        marks.add_each(axes.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0)), data)
        low, high = min(0.0, *values), max(0.0, *values)
        room = 0.13 * (high - low or 1.0)
        axes.set(xlim=(low - room if low < 0 else 0, high + room), ylim=(y - 0.3, -0.3), xlabel=unit)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _class_labels(axes, marks, middles, [name for name, _ in rows])

    methods = tuple(dict.fromkeys(bar.method for _, each in rows for bar in each))
    return Chart(title, WIDTH, height, draw, methods, {})


def _axes(area: Figure | SubFigure) -> Axes:
    axes = area.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _bare(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Limits as given, no frame, tick labels of x above."""
    axes.spines[:].set_visible(False)
    axes.set(xlim=x, ylim=y)
    axes.xaxis.tick_top()


def _class_labels(axes: Axes, marks: Marks, places: Sequence[float], names: Sequence[str]) -> None:
    axes.set_yticks(places, names, color=INK)
    for name, label in zip(names, axes.get_yticklabels(), strict=True):
        marks.add(label, **{"class": name})


def _cells(
    axes: Axes,
    marks: Marks,
    squares: Sequence[tuple[float, float, float]],
    data: Sequence[dict[str, str]],
    format: str,
    least: float,
) -> None:
    """Coloured squares of (x, y, value in per cent); values from `least` on are written into them."""
    colours = matplotlib.colormaps["cividis"](np.array([value for *_, value in squares]) / 100)
    corners = [[(x, y), (x + 0.97, y), (x + 0.97, y + 0.95), (x, y + 0.95)] for x, y, _ in squares]
    shapes = axes.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0), autolim=False)
    marks.add_each(shapes, data)
    for (x, y, value), colour, mark in zip(squares, colours, data, strict=True):
        if format and value >= least:
            dark = colour[:3] @ (0.299, 0.587, 0.114) < 0.46
            words = format.format(value)
            place = {"ha": "center", "va": "center_baseline", "size": 7, "in_layout": False}
            text = axes.text(x + 0.485, y + 0.475, words, color="white" if dark else "black", **place)
            marks.add(text, **{"class": mark["class"]})
