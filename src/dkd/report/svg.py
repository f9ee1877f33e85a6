"""From a Matplotlib figure to an SVG element for a page: hover texts, attributes to filter by, the page's own colours.

Knows nothing of what a figure shows.
"""

import io
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dkd.use import figure

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
VARIABLES = {figure.INK: "var(--ink)", figure.SOFT: "var(--soft)", figure.FAINT: "var(--faint)"}
"""Colours that the page shows otherwise in the dark."""
PIXELS_PER_POINT = 96 / 72


class Marks:
    """What is to be known of artists in the page: `title` is a hover text, all else becomes attributes data-NAME."""

    def __init__(self):
        self.of: dict[str, dict[str, Any] | Sequence[dict[str, Any]]] = {}

    def add(self, artist: Artist, **mark: str) -> None:
        """Mark an artist as a whole."""
        self._add(artist, mark)

    def add_each(self, collection: Artist, marks: Sequence[dict[str, str]]) -> None:
        """Mark each member of a collection, in the order of drawing."""
        self._add(collection, marks)

    def _add(self, artist: Artist, marks: dict | Sequence[dict]) -> None:
        artist.set_gid(f"mark{len(self.of)}")
        self.of[artist.get_gid()] = marks


def element(drawn: Figure, alt: str, marks: Marks) -> str:
    """One `svg` element of a figure drawn under `figure.style`; `alt` describes it in words.

    Its ids are unique in a page if the names given to `figure.style` are.
    """
    file = io.BytesIO()
    figure.save(drawn, file, "svg")
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        # The style sheet would apply to the whole page, and nothing is drawn outside its axes.
        for child in list(parent):
            if child.tag in (f"{SVG}style", f"{SVG}clipPath"):
                parent.remove(child)
    for node in list(root.iter()):
        _mark(node, marks.of.get(node.get("id"), {}))
    for node in root.iter():
        _simplify(node)
    used = {node.get("href") for node in root.iter()}
    for node in root.iter():
        if f"#{node.get('id')}" not in used:
            node.attrib.pop("id", None)
    _prune(root)
    width, height = (round(inches * 96) for inches in drawn.get_size_inches())
    view = root.get("viewBox")
    root.attrib.clear()
    root.attrib |= {"viewBox": view, "width": str(width), "height": str(height), "role": "img", "aria-label": alt}
    root.attrib |= {"stroke-linejoin": "round", "xmlns": SVG.strip("{}")}
    return ElementTree.tostring(root, encoding="unicode")


def _mark(node: ElementTree.Element, marks: dict[str, str] | Sequence[dict[str, str]]) -> None:
    if not isinstance(marks, dict):
        hidden = {id(each) for defs in node.iter(f"{SVG}defs") for each in defs.iter()}
        shapes = [each for each in node.iter() if each.tag in (f"{SVG}path", f"{SVG}use") and id(each) not in hidden]
        for shape, mark in zip(shapes, marks, strict=True):
            _mark(shape, mark)
        return
    for name, value in marks.items():
        if name == "title":
            title = ElementTree.Element("title")
            title.text = value
            node.insert(0, title)
        else:
            node.set(f"data-{name}", value)


def _simplify(node: ElementTree.Element) -> None:
    node.tag = node.tag.removeprefix(SVG)
    node.tail = None
    if node.tag not in ("text", "title"):
        node.text = None
    if LINK in node.attrib:
        node.set("href", node.attrib.pop(LINK).replace("\n", ""))
    node.attrib.pop("clip-path", None)
    for name in ("d", "x", "y", "transform"):
        if name in node.attrib:
            value = re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), node.get(name))
            node.set(name, " ".join(value.split()))
    if node.get("transform", "").startswith("rotate(-0 "):
        node.attrib.pop("transform")
    if "style" in node.attrib:
        # The page's own font stands in for Matplotlib's.
        kept = [part for part in node.get("style").split("; ") if not part.startswith("font-family:")]
        words = "; ".join(kept)
        for colour, variable in VARIABLES.items():
            words = words.replace(colour, variable)
        node.set("style", words)


def _prune(node: ElementTree.Element) -> None:
    """Remove groups that hold nothing and shapes that show nothing."""
    for child in list(node):
        _prune(child)
        empty = child.tag in ("g", "defs") and len(child) == 0
        if empty or (child.tag == "path" and child.get("style") == "fill: none"):
            node.remove(child)
