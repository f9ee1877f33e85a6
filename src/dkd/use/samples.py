"""Predictions of a checkpoint on a few fixed test images, the evidence for them, and its change since the step before.

Knows checkpoints and test images, no metrics. The images follow from the index alone, so all runs on a data set show
the same ones.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dkd import checkpoint, devices
from dkd.data import classes, reader
from dkd.data import index as index_file
from dkd.data import tasks as tasks_file
from dkd.data.index import Row
from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.use import evidence
from dkd.use import images as photos
from dkd.use.predict import Predictor

COUNT = 6
"""Number of images shown."""
LARGEST = 320
"""Longest side in pixels of an image shown."""
TILE = 1024
"""Larger test images are labelled in tiles with sides of this many pixels."""
CLASSES, CELLS = 6, 32
"""Most classes of an image whose evidence is kept, and most cells on a side: at most 12 kB of bytes an image."""
MEASURED = 100
"""Largest number of test images that the drift is measured on, evenly spaced over all of them."""


def choose(rows: Sequence[Row], count: int) -> list[Row]:
    """At most `count` test images that together show as many classes as possible, the same for every run.

    A greedy cover: each image adds the most classes that none before it shows (among equals, the image with the most
    classes, then the first). Once every class is shown, the cover starts again.
    """
    left, chosen, missing = list(rows), [], set()
    everything = {label for row in rows for label in row.classes}
    while left and len(chosen) < count:
        missing = missing or set(everything)
        best = max(left, key=lambda row: (len(missing & set(row.classes)), len(row.classes)))
        missing -= set(best.classes)
        if not set(best.classes) & everything and everything:
            break
        left.remove(best)
        chosen.append(best)
    return chosen


def write(folder: Path, previous: Path | None, step: int, inputs: Inputs, runtime: Runtime, out: Path) -> dict:
    """Write panels.json, sheet.png and, for image k, k.jpg, k-truth.png, k-found.png and k-evidence.png into `out`.

    `folder` is the checkpoint of `step`, `previous` that of the step before (None at the base). The truth and what is
    found are labels with a palette; evidence is as `_evidence` says. sheet.png has all images side by side. panels.json
    describes them and holds, by class, the mean absolute change of z+, z- and logit from `previous`, measured on test
    images of the step. Returns the cost: device and peak memory.
    """
    predictor = Predictor(folder, runtime.device, size=photos.FULL, tile=TILE, threads=runtime.threads)
    table = index_file.read(inputs.index)
    rows = table.test_rows()
    shown, strips = [], []
    for number, row in enumerate(choose(rows, COUNT)):
        image, values = reader.read_pair(inputs.data / row.image, inputs.data / row.mask, table.encoding)
        truth = classes.value_to_label(table.stored)[values]
        strips.append([_shrunk(each, predictor) for each in (image, truth, predictor(image))])
        for each, name in zip(strips[-1], (f"{number}.jpg", f"{number}-truth.png", f"{number}-found.png"), strict=True):
            each.save(out / name, quality=85, optimize=True)
        seen, terms = _evidence(predictor, image, set(row.classes))
        seen.save(out / f"{number}-evidence.png", optimize=True)
        shown.append({"id": row.id, "labels": sorted(row.classes), "width": strips[-1][0].width, "evidence": terms})
    _sheet(strips).save(out / "sheet.png", optimize=True)
    drift = None
    if previous is not None:
        test = set(tasks_file.read(inputs.tasks)["steps"][step]["test"])
        drift = _drift(predictor, previous, inputs.data, _spaced([row for row in rows if row.id in test]))
    content = {
        "step": step,
        "classes": predictor.names,
        "colours": predictor.colours[: len(predictor.names)],
        "known": [int(label) for label in predictor.labels[1:]],
        "evidence": evidence.WORDS[predictor.model.head],
        "pictures": shown,
        "drift": drift,
    }
    (out / "panels.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    return {**devices.cost(predictor.device), "images": len(shown)}


def _evidence(predictor: Predictor, image: np.ndarray, shown: set[int]) -> tuple[Image.Image, dict]:
    """Maps of z+ (left) and z- (right) of up to `CLASSES` classes, one below the other, and what they mean.

    A value v of the gray image stands for v/255 of the highest z+, or of the lowest z-, of all these classes. `shown`:
    labels that the image shows. The network sees the image in one piece, with at most `TILE` pixels a side.
    """
    labels = [int(label) for label in predictor.labels[1:]]
    seen = photos.scaled(image, min(1.0, TILE / max(image.shape[:2])))
    channels = {channel for channel, label in enumerate(labels) if label in shown}
    found = evidence.grid(predictor.model, seen, channels, CLASSES, CELLS)
    ends = found.terms[0].max(), found.terms[1].min()
    parts = [np.rint(each / (end or 1) * 255) for each, end in zip(found.terms, ends, strict=True)]
    gray = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts], axis=1).astype(np.uint8)
    facts = {"labels": [labels[channel] for channel in found.channels], "cells": list(found.terms.shape[2:])}
    facts |= {"biases": [round(float(bias), 4) for bias in found.biases]}
    return Image.fromarray(gray), {**facts, "ends": [round(float(end), 4) for end in ends]}


def _drift(predictor: Predictor, previous: Path, data: Path, rows: Sequence[Row]) -> dict:
    before, learned = checkpoint.load(previous, predictor.device)
    pixels = (reader.read_image(data / row.image) for row in tqdm(rows, desc="drift", disable=None, leave=False))
    found = evidence.drift(predictor.model, before, pixels)
    names = checkpoint.names(learned)[1:]
    return {
        "pictures": len(rows),
        "classes": {
            name: dict(zip(("positive", "negative", "logit"), map(float, values), strict=True))
            for name, values in zip(names, found, strict=True)
        },
    }


def _spaced(rows: Sequence[Row]) -> list[Row]:
    places = np.linspace(0, len(rows) - 1, min(MEASURED, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def _shrunk(pixels: np.ndarray, predictor: Predictor) -> Image.Image:
    """RGB pixels, or labels as a palette image, scaled down to at most `LARGEST` pixels a side."""
    image, labels = Image.fromarray(pixels), pixels.ndim == 2
    if labels:
        image.putpalette([value for colour in predictor.colours for value in colour])
    scale = LARGEST / max(image.size)
    if scale >= 1:
        return image
    sides = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(sides, Image.Resampling.NEAREST if labels else Image.Resampling.BILINEAR)


def _sheet(strips: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """One row per test image: the image, the ground truth and the prediction."""
    gap = 4
    width = max(sum(each.width + gap for each in strip) for strip in strips)
    canvas = Image.new("RGB", (width, sum(strip[0].height + gap for strip in strips)), "white")
    y = 0
    for strip in strips:
        x = 0
        for each in strip:
            canvas.paste(each.convert("RGB"), (x, y))
            x += each.width + gap
        y += strip[0].height + gap
    return canvas
