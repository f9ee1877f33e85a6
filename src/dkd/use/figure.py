"""How Matplotlib figures look, and how they are saved with the same bytes on every machine.

Knows nothing of what a figure shows. No pyplot: figures are plain objects, and settings hold inside `style` alone.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import matplotlib.style
from matplotlib.figure import Figure

INK, SOFT, FAINT = "#1b1b1b", "#5c5c5c", "#d9d9d9"
"""Colours of text and data outlines, of secondary text, and of grid lines."""
DPI = 150
LARGEST = 20_000
"""Longest side of a PNG in pixels; a larger figure gets a lower resolution."""
SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    # Class and run names are shown as they are.
    "text.parse_math": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
METADATA = {
    "svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
"""Without dates and versions."""


def style(name: str) -> AbstractContextManager:
    """Settings to draw and save a figure under, whatever the user's own are; `name` seeds the ids inside an SVG."""
    return matplotlib.style.context(["default", {**SETTINGS, "svg.hashsalt": name}])


def place(figure: Figure) -> None:
    """Let the layout engine place everything once, so that each save need not do it again."""
    figure.set_dpi(_resolution(figure))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save(figure: Figure, file: Path | BinaryIO, format: str) -> None:
    """Write a placed figure as "svg", "png" or "pdf"."""
    figure.savefig(file, format=format, dpi=_resolution(figure), metadata=METADATA[format])


def _resolution(figure: Figure) -> float:
    return min(DPI, LARGEST / max(figure.get_size_inches()))
