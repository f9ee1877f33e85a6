"""How charts become figures: alone, as an element of a page, or side by side on a sheet with one legend.

Knows the look of each method, not what a chart shows. Lengths are inches.
"""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import NamedTuple

from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from dkd.report import svg
from dkd.report.svg import Marks
from dkd.use import figure
from dkd.use.figure import SOFT

WIDTH = 3.3
"""Of a chart of curves or bars; a column of a paper."""
LARGEST_WIDTH = 11.0
"""Of a sheet."""
CHARACTER, TITLE_CHARACTER = 0.066, 0.068
"""About the width of a character of a label and of a title."""


class Style(NamedTuple):
    """How a method is drawn: colour, dash (stroke and gap lengths in line widths) and marker."""

    colour: str
    dash: tuple[int, ...]
    marker: str


KNOWN = {
    "finetune": Style("#d55e00", (4, 2), "s"),
    "kd": Style("#0072b2", (1, 1.5), "^"),
    "dkd": Style("#009e73", (), "o"),
    "joint": Style("#cc79a7", (5, 1.5, 1, 1.5), "D"),
    "dkd-m": Style("#e69f00", (2.5, 1.5), "v"),
}
OTHERS = (
    Style("#56b4e9", (3, 1), "P"),
    Style("#aa4499", (1, 1), "X"),
    Style("#999933", (6, 2), "<"),
    Style("#cc6677", (3, 1, 1, 1, 1, 1), ">"),
)
"""For other methods, in turn. Colours of Okabe and Ito and of Tol, which the colour-blind can tell apart."""


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """The style of each method, the same in all charts."""
    others = cycle(OTHERS)
    return {method: KNOWN.get(method) or next(others) for method in dict.fromkeys(methods)}


class Chart(NamedTuple):
    """A chart that can be drawn into a figure of its own or beside others."""

    title: str
    width: float
    height: float
    """With a title of one line."""
    draw: Callable[[Figure | SubFigure, Marks], None]
    methods: tuple[str, ...]
    """Methods that a legend has to explain."""
    data: dict[str, str]
    """What a page filters the whole by: method and runs."""

    def svg(self, name: str) -> str:
        """The chart as an element for a page; `name` is unique in the page."""
        marks = Marks()
        with figure.style(name):
            return svg.element(self.alone(marks), self.title, marks)

    @property
    def lines(self) -> str:
        """The title in lines that fit."""
        return textwrap.fill(self.title, int((self.width - 0.1) / TITLE_CHARACTER))

    @property
    def full_height(self) -> float:
        """The height with all lines of the title."""
        return self.height + 0.14 * self.lines.count("\n")

    def alone(self, marks: Marks) -> Figure:
        """The chart as a figure of its own, to be called under `figure.style`."""
        drawn = Figure((self.width, self.full_height), layout="constrained", facecolor="none")
        self.draw(drawn, marks)
        _put_title(drawn, self)
        figure.place(drawn)
        return drawn


def sheet(charts: Sequence[Chart], looks: dict[str, Style]) -> Figure:
    """Charts side by side in rows, and a legend below; to be called and saved under `figure.style`."""
    if not charts:
        drawn = Figure((WIDTH, 0.5), facecolor="white")
        drawn.text(0.5, 0.5, "no data yet", color=SOFT, ha="center", va="center")
        return drawn
    rows: list[list[Chart]] = []
    for chart in charts:
        if not rows or sum(each.width for each in rows[-1]) + chart.width > LARGEST_WIDTH:
            rows.append([])
        rows[-1].append(chart)
    methods = [method for method in looks if any(method in chart.methods for chart in charts)]
    width = max(sum(each.width for each in row) for row in rows)
    columns = max(1, min(len(methods), int(width / (0.6 + CHARACTER * max(map(len, methods), default=0)))))
    legend = [0.15 + 0.17 * -(-len(methods) // columns)] if methods else []
    heights = [*(max(each.full_height for each in row) for row in rows), *legend]
    drawn = Figure((width, sum(heights)), layout="constrained", facecolor="white")
    drawn.get_layout_engine().set(w_pad=0.08)
    areas = drawn.subfigures(len(heights), 1, height_ratios=heights, hspace=0, wspace=0, squeeze=False)[:, 0]
    for area, row in zip(areas, rows, strict=False):
        rest = width - sum(each.width for each in row)
        widths = [*(each.width for each in row), *([rest] if rest > 0.01 else [])]
        parts = area.subfigures(1, len(widths), width_ratios=widths, hspace=0, wspace=0, squeeze=False)[0]
        for part, chart in zip(parts, row, strict=False):
            chart.draw(part, Marks())
            _put_title(part, chart)
    if methods:
        lines = [_legend_line(looks[method]) for method in methods]
        areas[-1].legend(lines, methods, loc="center", ncols=columns, frameon=False, handlelength=3)
    figure.place(drawn)
    return drawn


def _legend_line(look: Style) -> Line2D:
    dash = (0, look.dash) if look.dash else "-"
    return Line2D([], [], color=look.colour, linestyle=dash, linewidth=1.4, marker=look.marker, markersize=4)


def _put_title(area: Figure | SubFigure, chart: Chart) -> None:
    area.suptitle(chart.lines, x=0.01, ha="left", size=8.5)
