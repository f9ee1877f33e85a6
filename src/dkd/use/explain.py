"""Figure of the evidence for a class at every pixel (`dkd.use.evidence`), and of its change since an earlier step.

The terms exist for every classifier that is linear; where the classes share a softmax they do not decide alone, since a
logit counts by its distance to the others (background's among them). Neither do they with an unknown class: the highest
of all sigmoids decides. Knows nothing of methods or training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dkd import checkpoint
from dkd.use import figure, images
from dkd.use.evidence import TERMS, WORDS, Maps, channel, maps

LARGEST = 1024
"""Longest side in pixels of an explained image, which the network sees in one piece."""
GAINED, LOST, KEPT = "#0072b2", "#d55e00", "#009e73"
PANEL, GAP = 2.0, 0.15
"""Width of a map, and space between two, in inches."""


class Explained(NamedTuple):
    """One class in one image, by one checkpoint or two."""

    name: str
    head: str
    """Of the network: a key of WORDS."""
    found: list[tuple[str, Maps]]
    """Step in words and maps, of the earlier checkpoint (if there is one) and of the later one."""


def explain(folder: Path, image: np.ndarray, name: str, previous: Path | None, device: str | torch.device) -> Explained:
    """Terms of the class `name` over RGB pixels (H, W, 3) uint8, before and now.

    `previous` is the checkpoint of an earlier step, or None. Raises InputError if a checkpoint has not learned the
    class.
    """
    found, head = [], ""
    for place in [folder] if previous is None else [previous, folder]:
        model, step = checkpoint.load(place, device)
        number = len(step.sizes) - 1
        words = f"step {number}, {step.method}" if number else "step 0"
        found.append((words, maps(model, image, channel(step, name, place))))
        head = model.head
    return Explained(name, head, found)


def arrays(explained: Explained) -> dict[str, np.ndarray]:
    """positive (z+), negative (z-) and logit, (H, W) float32 each, and decision (H, W) bool.

    Those of an earlier checkpoint have the prefix `previous_`.
    """
    content = {}
    for prefix, (_, each) in zip(("", "previous_"), reversed(explained.found), strict=False):
        names = (f"{prefix}{word}" for word in ("positive", "negative", "logit"))
        content |= {**dict(zip(names, each.terms, strict=True)), f"{prefix}decision": each.decision}
    return content


def resized(image: np.ndarray, size: int | None, side: int | None) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 with a shorter side of `size` pixels, but at most `LARGEST` on the longer side.

    Without a `size`, an image with a shorter side above `side` gets that one, as in `predict.Predictor`.
    """
    height, width = image.shape[:2]
    shorter = min(height, width)
    wanted = size or min(shorter, side or shorter)
    return images.scaled(image, min(wanted / shorter, LARGEST / max(height, width)))


def save(drawn: Figure, path: Path) -> None:
    """Write a figure as its suffix says, .png or .svg; the same figure gives the same bytes."""
    with figure.style(path.stem):
        figure.save(drawn, path, path.suffix.removeprefix("."))


def draw(image: np.ndarray, explained: Explained) -> Figure:
    """A row of maps for each checkpoint, and for two a row with what changed: terms before, now, and their difference.

    `image`: the RGB pixels (H, W, 3) uint8 that were explained.
    """
    name, head, found = explained
    title = f"{name}: {WORDS[head]}"
    rows, height = len(found) + (len(found) == 2), PANEL * max(0.1, image.shape[0] / image.shape[1])
    terms = np.stack([each.terms for _, each in found])
    most = float(np.abs(terms[:, 2]).max())
    scales = [(0.0, float(terms[:, 0].max())), (float(terms[:, 1].min()), 0.0), (-most, most)]
    with figure.style(name):
        drawn = Figure((GAP + 5 * (PANEL + GAP), 0.35 + rows * (height + 0.7)), facecolor="white")
        width, whole = drawn.get_size_inches()
        drawn.text(GAP / width, 1 - 0.08 / whole, title, size=10, va="top")
        for row in range(rows):
            bottom = whole - 0.35 - row * (height + 0.7) - 0.2 - height
            places = [(GAP + k * (PANEL + GAP)) / width for k in range(5)]
            panels = [drawn.add_axes((x, bottom / whole, PANEL / width, height / whole)) for x in places]
            for axes in panels:
                axes.axis("off")
            if row == len(found):
                _changes(panels, image, *(each for _, each in found))
                continue
            words, each = found[row]
            _picture(panels[0], f"image ({words})", image)
            for k in range(3):
                _map(panels[k + 1], TERMS[k], each.terms[k], scales[k], "RdBu_r" if k == 2 else "cividis")
            share = 100 * each.decision.mean()
            _decision(panels[4], image, [(each.decision, KEPT, f"{name}, {share:.1f}%")])
    return drawn


def _changes(panels: Sequence[Axes], image: np.ndarray, before: Maps, now: Maps) -> None:
    """What changed between two checkpoints: mean and map of each term, and the pixels kept, gained and lost."""
    change = now.terms - before.terms
    means = [f"{term}: {np.abs(change[k]).mean():.2f}" for k, term in enumerate(TERMS)]
    panels[0].text(0, 1, "\n".join(["mean absolute change", *means]), va="top", linespacing=1.6)
    most = float(np.abs(change).max())
    for k in range(3):
        _map(panels[k + 1], f"{TERMS[k]}, now - before", change[k], (-most, most), "RdBu_r")
    masks = [
        (now.decision & before.decision, KEPT, "kept"),
        (now.decision & ~before.decision, GAINED, "gained"),
        (before.decision & ~now.decision, LOST, "lost"),
    ]
    _decision(panels[4], image, masks)


def _picture(axes: Axes, title: str, pixels: np.ndarray) -> None:
    axes.set_title(title)
    axes.imshow(pixels, aspect="auto")


def _map(axes: Axes, title: str, values: np.ndarray, scale: tuple[float, float], colours: str) -> None:
    """A map (H, W) with its scale below."""
    low, high = scale if scale[0] < scale[1] else (0.0, 1.0)
    axes.set_title(title)
    shown = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
    drawn, box = axes.figure, axes.get_position()
    place = drawn.add_axes((box.x0, box.y0 - 0.13 / drawn.get_figheight(), box.width, 0.07 / drawn.get_figheight()))
    bar = drawn.colorbar(shown, cax=place, orientation="horizontal", ticks=[low, (low + high) / 2, high])
    bar.outline.set_visible(False)
    place.set_xticks(bar.get_ticks(), [f"{tick:.3g}" for tick in bar.get_ticks()])
    for label, side in zip(place.get_xticklabels(), ("left", "center", "right"), strict=True):
        label.set_horizontalalignment(side)


def _decision(axes: Axes, image: np.ndarray, masks: list[tuple[np.ndarray, str, str]]) -> None:
    """The image in grey, with regions in colour and a legend below."""
    shown = np.repeat(image.mean(-1, keepdims=True) * 0.5 + 110, 3, axis=-1) / 255
    for mask, colour, _ in masks:
        shown[mask] = 0.25 * shown[mask] + 0.75 * np.array(to_rgb(colour))
    _picture(axes, "decision", shown)
    squares = [Patch(color=colour, label=words) for _, colour, words in masks]
    place = {
        "loc": "upper left",
        "bbox_to_anchor": (-0.04, 0),
        "borderpad": 0,
        "borderaxespad": 0.7,
        "ncols": len(masks),
    }
    axes.legend(handles=squares, frameon=False, handlelength=1, handletextpad=0.4, columnspacing=1, **place)
