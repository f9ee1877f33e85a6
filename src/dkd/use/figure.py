"""Figures of lines, boxes, words and pictures, described once and written as SVG (for pages) and PNG (for files).

Knows nothing of what is shown. A colour is "#rrggbb" or a word of `INK`, which a page may show otherwise in the dark.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK = {"ink": "#1b1b1b", "soft": "#5c5c5c", "faint": "#d9d9d9", "paper": "#ffffff"}
SEQUENTIAL = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")
"""Dark blue to yellow in even steps of lightness; the same to the colour-blind and in grey."""
DIVERGING = ("#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2182b")
OVERSAMPLE = 2
POINT = tuple[float, float]


def shade(values: np.ndarray, ramp: Sequence[str]) -> np.ndarray:
    """Shares 0..1 of any shape -> RGB uint8 with one axis more, along a ramp of colours; beyond is as at the end."""
    stops = np.array([_rgb(colour) for colour in ramp], dtype=np.float64)
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, places, stops[:, k]) for k in range(3)], axis=-1).round().astype(np.uint8)


def hex_of(share: float, ramp: Sequence[str]) -> str:
    """The colour of one share as "#rrggbb"."""
    return "#" + "".join(f"{value:02x}" for value in shade(np.array(share), ramp))


def readable_on(colour: str) -> str:
    """Black or white, whichever is easier to read there."""
    red, green, blue = _rgb(colour)
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def _rgb(colour: str) -> tuple[int, int, int]:
    colour = INK.get(colour, colour)
    return tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))


@cache
def _font(size: float) -> Any:
    return ImageFont.load_default(size)


def text_width(words: str, size: float = 12) -> float:
    """About how wide words come out, in pixels."""
    return _font(size).getlength(words)


class Figure:
    """What is drawn, in the order of drawing; `alt` says it in words. Lengths are pixels, from the top left."""

    def __init__(self, width: float, height: float, alt: str, **data: Any):
        self.width, self.height, self.alt = round(width), round(height), alt
        self.data = data
        """What a page may filter the whole by, as `group` does for a part."""
        self._items: list[tuple[str, dict[str, Any]]] = []

    @contextmanager
    def group(self, **data: Any) -> Iterator[None]:
        """What is drawn inside belongs together: attributes data-NAME of an SVG group, which a page can filter by."""
        self._items.append(("open", data))
        yield
        self._items.append(("close", {}))

    def rect(self, x: float, y: float, w: float, h: float, fill: str, tip: str = "", edge: str | None = None) -> None:
        """A box; `tip` shows where the pointer rests."""
        self._items.append(("rect", {"x": x, "y": y, "w": w, "h": h, "fill": fill, "tip": tip, "edge": edge}))

    def line(self, points: Sequence[POINT], colour: str, width: float = 1, dash: Sequence[int] = ()) -> None:
        """A line through points."""
        self._items.append(("line", {"points": list(points), "colour": colour, "width": width, "dash": tuple(dash)}))

    def area(self, points: Sequence[POINT], fill: str, opacity: float = 1.0, tip: str = "") -> None:
        """A filled polygon."""
        self._items.append(("area", {"points": list(points), "fill": fill, "opacity": opacity, "tip": tip}))

    def text(
        self, x: float, y: float, words: str, size: float = 12, at: str = "start", fill: str = "ink", turn: bool = False
    ) -> None:
        """Words whose middle line is at y; x is their start, middle or end (`at`). `turn`: they read upwards."""
        self._items.append(
            ("text", {"x": x, "y": y, "words": words, "size": size, "at": at, "fill": fill, "turn": turn})
        )

    def image(self, x: float, y: float, w: float, h: float, pixels: np.ndarray, smooth: bool = True) -> None:
        """RGB pixels (H, W, 3) uint8, scaled to a box."""
        self._items.append(("image", {"x": x, "y": y, "w": w, "h": h, "pixels": pixels, "smooth": smooth}))

    def svg(self) -> str:
        """One element to put into a page."""
        parts = [
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{escape(self.alt)}" xmlns="http://www.w3.org/2000/svg">'
        ]
        for kind, facts in self._items:
            if kind == "open":
                data = "".join(f' data-{name}="{escape(str(value))}"' for name, value in facts.items())
                parts.append(f"<g{data}>")
            elif kind == "close":
                parts.append("</g>")
            else:
                parts.append(_SVG[kind](**facts))
        return "".join([*parts, "</svg>"])

    def standalone(self) -> str:
        """A file of its own, on white."""
        colours = "".join(f"--{name}:{colour};" for name, colour in INK.items())
        style = f"svg{{{colours}background:#fff;font-family:sans-serif}}"
        return self.svg().replace(">", f"><style>{style}</style>", 1) + "\n"

    def png(self, scale: float = 1.0) -> Image.Image:
        """A picture of `scale` times the size, on white."""
        factor = scale * OVERSAMPLE
        canvas = Image.new("RGB", (round(self.width * factor), round(self.height * factor)), "white")
        for kind, facts in self._items:
            if kind not in ("open", "close"):
                _PNG[kind](canvas, factor, **facts)
        return canvas.resize((round(self.width * scale), round(self.height * scale)), Image.Resampling.BOX)


def _paint(colour: str) -> str:
    return f"var(--{colour})" if colour in INK else colour


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _points(points: Sequence[POINT]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _tip(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


def _svg_rect(x, y, w, h, fill, tip, edge) -> str:
    stroke = f' stroke="{_paint(edge)}"' if edge else ""
    shape = f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" fill="{_paint(fill)}"{stroke}'
    return f"{shape}>{_tip(tip)}</rect>" if tip else f"{shape}/>"


def _svg_line(points, colour, width, dash) -> str:
    dashed = f' stroke-dasharray="{" ".join(map(str, dash))}"' if dash else ""
    stroke = f'stroke="{_paint(colour)}" stroke-width="{_n(width)}"{dashed}'
    return f'<polyline points="{_points(points)}" fill="none" {stroke}/>'


def _svg_area(points, fill, opacity, tip) -> str:
    faint = f' fill-opacity="{opacity:g}"' if opacity != 1 else ""
    return f'<polygon points="{_points(points)}" fill="{_paint(fill)}"{faint}>{_tip(tip)}</polygon>'


def _svg_text(x, y, words, size, at, fill, turn) -> str:
    turned = f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turn else ""
    anchor = f' text-anchor="{at}"' if at != "start" else ""
    place = f'<text x="{_n(x)}" y="{_n(y)}" dy=".35em" font-size="{_n(size)}" fill="{_paint(fill)}"{anchor}{turned}>'
    return f"{place}{escape(words)}</text>"


def _svg_image(x, y, w, h, pixels, smooth) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    rough = "" if smooth else ' style="image-rendering:pixelated"'
    return (
        f'<image x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" preserveAspectRatio="none"{rough} '
        f'href="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"/>'
    )


def _png_rect(canvas, f, x, y, w, h, fill, tip, edge) -> None:
    box = (x * f, y * f, max(x * f, (x + w) * f - 1), max(y * f, (y + h) * f - 1))
    ImageDraw.Draw(canvas).rectangle(box, fill=_rgb(fill), outline=_rgb(edge) if edge else None)


def _png_line(canvas, f, points, colour, width, dash) -> None:
    pen, thick = ImageDraw.Draw(canvas), max(1, round(width * f))
    scaled = [(x * f, y * f) for x, y in points]
    for piece in _dashed(scaled, [length * f for length in dash]) if dash else [scaled]:
        pen.line(piece, fill=_rgb(colour), width=thick, joint="curve")


def _dashed(points: list[POINT], pattern: list[float]) -> Iterator[list[POINT]]:
    """The pieces of a line that a pattern of strokes and gaps leaves."""
    part, left, drawn = 0, pattern[0], [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        length, at = float(np.hypot(x1 - x0, y1 - y0)), 0.0
        while length - at > left:
            at += left
            here = (x0 + (x1 - x0) * at / length, y0 + (y1 - y0) * at / length)
            if part % 2 == 0:
                yield [*drawn, here]
            part, drawn = part + 1, [here]
            left = pattern[part % len(pattern)]
        left -= length - at
        drawn.append((x1, y1))
    if part % 2 == 0 and len(drawn) > 1:
        yield drawn


def _png_area(canvas, f, points, fill, opacity, tip) -> None:
    if len(points) > 2:
        veil = Image.new("L", canvas.size)
        ImageDraw.Draw(veil).polygon([(x * f, y * f) for x, y in points], fill=round(255 * opacity))
        canvas.paste(_rgb(fill), mask=veil)


def _png_text(canvas, f, x, y, words, size, at, fill, turn) -> None:
    font, anchor = _font(size * f), {"start": "l", "middle": "m", "end": "r"}[at]
    if not turn:
        ImageDraw.Draw(canvas).text((x * f, y * f), words, fill=_rgb(fill), font=font, anchor=f"{anchor}m")
        return
    width, height = round(font.getlength(words)) + 2, round(size * f * 1.5)
    strip = Image.new("L", (width, height))
    ImageDraw.Draw(strip).text((0, height / 2), words, fill=255, font=font, anchor="lm")
    strip = strip.rotate(90, expand=True)
    top = y * f - {"l": width, "m": width / 2, "r": 0}[anchor]
    canvas.paste(_rgb(fill), (round(x * f - height / 2), round(top)), strip)


def _png_image(canvas, f, x, y, w, h, pixels, smooth) -> None:
    size = max(1, round(w * f)), max(1, round(h * f))
    kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    canvas.paste(Image.fromarray(pixels).resize(size, kind), (round(x * f), round(y * f)))


_SVG = {"rect": _svg_rect, "line": _svg_line, "area": _svg_area, "text": _svg_text, "image": _svg_image}
_PNG = {"rect": _png_rect, "line": _png_line, "area": _png_area, "text": _png_text, "image": _png_image}
