"""Positive and negative evidence for a class at every pixel, and its change since an earlier step.

The maps are the terms that the paper distils: z = z+ + z- + bias. They exist for every classifier that is linear; where
the classes share a softmax they do not decide alone, since a logit counts by its distance to the others (background's
among them). Neither do they with an unknown class: the highest of all sigmoids decides. Knows nothing of methods or
training.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from dkd import checkpoint, devices, losses
from dkd.checkpoint import Step
from dkd.data import classes, transforms
from dkd.errors import InputError
from dkd.evaluate import decide
from dkd.model.segmenter import Output, Segmenter, upsample
from dkd.use import figure, images

TERMS = ("z+", "z-", "logit")
SIGMOID = "positive evidence (z+), negative evidence (z-) and logit"
WORDS = {
    "sigmoid": SIGMOID,
    "softmax": f"{SIGMOID}, which decides by its distance to the logits of background and other classes",
    "unknown": f"{SIGMOID}, which decides where it is above those of background and other classes",
}
"""What the figure shows, by the head of the network."""
LARGEST = 1024
"""Longest side in pixels of an explained image, which the network sees in one piece."""
GAINED, LOST, KEPT = "#0072b2", "#d55e00", "#009e73"
PANEL, GAP = 2.0, 0.15
"""Width of a map, and space between two, in inches."""


class Maps(NamedTuple):
    """One class over an image of H x W pixels."""

    terms: np.ndarray
    """(3, H, W) float32: z+, z- and the logit, which is their sum plus the bias."""
    decision: np.ndarray
    """(H, W) bool: pixels that the network assigns to the class."""


@torch.no_grad()
def maps(model: Segmenter, image: np.ndarray, channel: int) -> Maps:
    """Terms of the class in `channel` (0..K-1) for RGB pixels (H, W, 3) uint8."""
    [output] = _outputs(image, model)
    terms = torch.stack(_terms(output))[:, 0, channel]
    decision = decide(output)[0] == classes.channel_to_id(channel)
    return Maps(upsample(terms[None], output.size)[0].cpu().numpy(), decision.cpu().numpy())


def _outputs(image: np.ndarray, *models: Segmenter) -> list[Output]:
    height, width = image.shape[:2]
    with devices.explained(f"an image of {width} x {height} pixels at once; use a CPU, or a smaller image"):
        batch = transforms.normalise(transforms.channels_first(image))[None]
        batch = batch.to(next(models[0].parameters()).device)
        return [model(batch) for model in models]


def _terms(output: Output) -> tuple[Tensor, Tensor, Tensor]:
    return *losses.decompose(output.features, torch.cat(output.weights), "weight"), output.scores.float()


@torch.no_grad()
def drift(model: Segmenter, previous: Segmenter, pixels: Iterable[np.ndarray]) -> np.ndarray:
    """Mean absolute change of z+, z- and the logit of every class that `previous` has learned: (classes, 3) float64.

    The mean is taken over all cells of the feature grids of the images, RGB pixels (H, W, 3) uint8; the unit is that
    of the logit.
    """
    known = sum(previous.sizes)
    total, cells = torch.zeros(known, 3, dtype=torch.float64), 0
    for image in pixels:
        now, before = map(_terms, _outputs(image, model, previous))
        moved = torch.stack([(a[0, :known] - b[0]).abs().sum((1, 2)) for a, b in zip(now, before, strict=True)], dim=1)
        total += moved.double().cpu()
        cells += now[0][0, 0].numel()
    return (total / max(1, cells)).numpy()


def channel(step: Step, name: str, folder: Path) -> int:
    """Channel of the class `name`; InputError if the checkpoint in `folder` has not learned it."""
    if name == step.class_names[0] and name not in step.class_names[1:]:
        raise InputError(f"--class: {name!r} is background, which is not explained; name another class")
    if name not in checkpoint.names(step)[1:]:
        raise InputError(f"--class: {folder} has not learned {name!r}, only {', '.join(checkpoint.names(step)[1:])}")
    [id] = classes.ids_of(step.order, [step.class_names.index(name, 1)])
    return classes.id_to_channel(id)


def explain(folder: Path, image: np.ndarray, name: str, previous: Path | None, device: str | torch.device) -> Figure:
    """Figure of the terms of the class `name` over RGB pixels (H, W, 3) uint8: before, now, and their difference.

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
    return _draw(image, name, WORDS[head], found)


def resized(image: np.ndarray, shorter: int | None) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 with a shorter side of `shorter` pixels, but at most `LARGEST` on the longer side."""
    height, width = image.shape[:2]
    return images.scaled(image, min((shorter or min(height, width)) / min(height, width), LARGEST / max(height, width)))


def save(drawn: Figure, path: Path) -> None:
    """Write a figure as its suffix says, .png or .svg; the same figure gives the same bytes."""
    with figure.style(path.stem):
        figure.save(drawn, path, path.suffix.removeprefix("."))


def _draw(image: np.ndarray, name: str, words: str, found: list[tuple[str, Maps]]) -> Figure:
    """A row of maps for each checkpoint, and for two a row with what changed."""
    rows, height = len(found) + (len(found) == 2), PANEL * max(0.1, image.shape[0] / image.shape[1])
    terms = np.stack([each.terms for _, each in found])
    most = float(np.abs(terms[:, 2]).max())
    scales = [(0.0, float(terms[:, 0].max())), (float(terms[:, 1].min()), 0.0), (-most, most)]
    with figure.style(name):
        drawn = Figure((GAP + 5 * (PANEL + GAP), 0.35 + rows * (height + 0.7)), facecolor="white")
        width, whole = drawn.get_size_inches()
        drawn.text(GAP / width, 1 - 0.08 / whole, f"{name}: {words}", size=10, va="top")
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
