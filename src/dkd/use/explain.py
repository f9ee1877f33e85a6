"""What speaks for and against a class at every pixel, and how that moved since the step before.

The terms are those that the paper distils: z = z+ + z- + bias. Knows nothing of methods or training.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dkd import checkpoint, devices, losses
from dkd.checkpoint import Step
from dkd.data import classes, transforms
from dkd.errors import InputError
from dkd.evaluate import predict_labels
from dkd.model.segmenter import Output, Segmenter, upsample
from dkd.use import figure
from dkd.use.figure import Figure

TERMS = ("z+", "z-", "logit")
LARGEST = 1024
"""Longest side in pixels of a picture that is explained in one piece."""
GAINED, LOST, KEPT = "#0072b2", "#d55e00", "#009e73"
PANEL = 210


class Maps(NamedTuple):
    """A class over a picture of H x W pixels."""

    terms: np.ndarray
    """(3, H, W) float32: z+, z- and the logit, which is their sum and the bias."""
    decision: np.ndarray
    """(H, W) bool: where the network says that it is this class."""


@torch.no_grad()
def maps(model: Segmenter, image: np.ndarray, channel: int) -> Maps:
    """The terms of the class in a channel (0..K-1), for RGB pixels (H, W, 3) uint8."""
    [answer] = _answers(image, model)
    terms = torch.stack(_terms(answer))[:, 0, channel]
    decision = predict_labels(answer.scores, answer.size)[0] == classes.channel_to_id(channel)
    return Maps(upsample(terms[None], answer.size)[0].cpu().numpy(), decision.cpu().numpy())


def _answers(image: np.ndarray, *models: Segmenter) -> list[Output]:
    height, width = image.shape[:2]
    with devices.explained(f"a picture of {width} x {height} at once; take a CPU, or a smaller picture"):
        batch = transforms.normalise(transforms.channels_first(image))[None]
        batch = batch.to(next(models[0].parameters()).device)
        return [model(batch) for model in models]


def _terms(answer: Output) -> tuple[Tensor, Tensor, Tensor]:
    return *losses.decompose(answer.features, torch.cat(answer.weights), "weight"), answer.scores.float()


@torch.no_grad()
def drift(model: Segmenter, previous: Segmenter, images: Iterable[np.ndarray]) -> np.ndarray:
    """Mean absolute change of z+, z- and the logit of every class that `previous` knows: (classes, 3) float64.

    The mean is over all cells of the feature grids of RGB pictures (H, W, 3) uint8, in units of the logit.
    """
    known = sum(previous.sizes)
    total, cells = torch.zeros(known, 3, dtype=torch.float64), 0
    for image in images:
        now, before = map(_terms, _answers(image, model, previous))
        moved = torch.stack([(a[0, :known] - b[0]).abs().sum((1, 2)) for a, b in zip(now, before, strict=True)], dim=1)
        total += moved.double().cpu()
        cells += now[0][0, 0].numel()
    return (total / max(1, cells)).numpy()


def channel(step: Step, name: str, folder: Path) -> int:
    """The channel of a class by its name; InputError where the checkpoint in `folder` has not learned it."""
    if name == step.class_names[0] and name not in step.class_names[1:]:
        raise InputError(f"--class: {name!r} has no logit: background is where no class speaks up")
    if name not in checkpoint.names(step)[1:]:
        raise InputError(f"--class: {folder} knows {', '.join(checkpoint.names(step)[1:])}; not {name!r}")
    [id] = classes.ids_of(step.order, [step.class_names.index(name, 1)])
    return classes.id_to_channel(id)


def explain(folder: Path, image: np.ndarray, name: str, previous: Path | None, device: str = "cpu") -> Figure:
    """A figure of the terms of class `name` over RGB pixels (H, W, 3) uint8: now, before, and what changed.

    `previous` is the checkpoint of an earlier step. Raises InputError where a checkpoint does not know the class.
    """
    found = []
    for place in [folder] if previous is None else [previous, folder]:
        model, step = checkpoint.load(place, device)
        number = len(step.sizes) - 1
        words = f"step {number}, {step.method}" if number else "step 0"
        found.append((words, maps(model, image, channel(step, name, place))))
    return _draw(image, name, found)


def resized(image: np.ndarray, shorter: int | None) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 with a `shorter` side of so many pixels, and `LARGEST` at most at the longer."""
    height, width = image.shape[:2]
    scale = min((shorter or min(height, width)) / min(height, width), LARGEST / max(height, width))
    if scale == 1:
        return image
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    return np.array(Image.fromarray(image).resize(sides, Image.Resampling.BILINEAR))


def _draw(image: np.ndarray, name: str, found: list[tuple[str, Maps]]) -> Figure:
    height, width = image.shape[:2]
    w, h = PANEL, max(24, round(PANEL * height / width))
    gap, left, top, row = 14, 14, 48, h + 62
    rows = len(found) + (len(found) == 2)
    canvas = Figure(left + 5 * (w + gap), top + rows * row, f"what speaks for and against {name} in a picture")
    canvas.text(left, 18, f"{name}: what speaks for it (z+), against it (z-), and what comes of it", 15)
    reach = np.stack([each.terms for _, each in found])
    low, high = reach.min((0, 2, 3)), reach.max((0, 2, 3))
    most = float(np.abs(reach[:, 2]).max()) or 1.0
    scales = [(0.0, float(high[0])), (float(low[1]), 0.0), (-most, most)]
    for number, (words, each) in enumerate(found):
        y = top + number * row
        canvas.text(left, y - 8, f"picture, {words}", 12, fill="soft")
        canvas.image(left, y, w, h, image)
        for k in range(3):
            ramp = figure.DIVERGING if k == 2 else figure.SEQUENTIAL
            _map(canvas, left + (k + 1) * (w + gap), y, w, h, TERMS[k], each.terms[k], scales[k], ramp)
        share = 100 * each.decision.mean()
        _decision(canvas, left + 4 * (w + gap), y, w, h, image, [(each.decision, KEPT, f"{name}, {share:.1f}%")])
    if len(found) == 2:
        (_, before), (_, now) = found
        y, change = top + 2 * row, now.terms - before.terms
        canvas.text(left, y - 8, "change", 12, fill="soft")
        for k, line in enumerate(
            (f"mean |change| of {term}: {np.abs(change[k]).mean():.2f}" for k, term in enumerate(TERMS))
        ):
            canvas.text(left, y + 14 + 18 * k, line, 12)
        most = float(np.abs(change).max()) or 1.0
        for k in range(3):
            words = f"{TERMS[k]}, now - before"
            _map(canvas, left + (k + 1) * (w + gap), y, w, h, words, change[k], (-most, most), figure.DIVERGING)
        masks = [
            (now.decision & before.decision, KEPT, "kept"),
            (now.decision & ~before.decision, GAINED, "gained"),
            (before.decision & ~now.decision, LOST, "lost"),
        ]
        _decision(canvas, left + 4 * (w + gap), y, w, h, image, masks)
    return canvas


def _map(canvas: Figure, x, y, w, h, words, values, scale, ramp) -> None:
    """A map with its name above and its scale below."""
    low, high = scale
    span = (high - low) or 1.0
    canvas.text(x, y - 8, words, 12)
    canvas.image(x, y, w, h, figure.shade((values - low) / span, ramp))
    canvas.image(x, y + h + 5, w, 7, figure.shade(np.linspace(0, 1, 128)[None], ramp))
    for share, at in ((0, "start"), (0.5, "middle"), (1, "end")):
        canvas.text(x + share * w, y + h + 21, f"{low + share * span:.3g}", 10, at, fill="soft")


def _decision(canvas: Figure, x, y, w, h, image, masks) -> None:
    """The picture in grey, with regions in colour and what each is below."""
    shown = np.repeat(image.mean(-1, keepdims=True) * 0.5 + 110, 3, axis=-1)
    canvas.text(x, y - 8, "decision", 12)
    for mask, colour, _ in masks:
        shown[mask] = 0.25 * shown[mask] + 0.75 * np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    canvas.image(x, y, w, h, shown.round().clip(0, 255).astype(np.uint8))
    for _, colour, words in masks:
        canvas.rect(x, y + h + 14, 10, 10, colour)
        canvas.text(x + 14, y + h + 20, words, 11)
        x += 24 + figure.text_width(words, 11)
