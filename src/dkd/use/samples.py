"""What a checkpoint makes of a few fixed test pictures, and how far its reasoning moved since the step before.

Knows checkpoints and test pictures; judges nothing. The pictures follow from the index alone, so that all runs on a
data set show the same ones.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dkd import checkpoint, devices
from dkd.data import index as index_file
from dkd.data import reader
from dkd.data import tasks as tasks_file
from dkd.data.index import Row
from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.use import explain
from dkd.use.predict import Predictor

PICTURES = 6
LARGEST = 320
"""Longest side in pixels of what is shown."""
MEASURED = 100
"""Most test pictures that the drift is measured on, evenly spaced over all."""


def choose(rows: Sequence[Row], count: int = PICTURES) -> list[Row]:
    """Test pictures that show as many classes as can be, the same for every run on a data set.

    One after the other, each adds the most classes that none before it shows (of equals, the one with the most classes,
    then the first); when all are shown, again from the start.
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
    """Write panels.json and, for each picture k, k.jpg, k-truth.png and k-found.png (palette, labels) into `out`.

    sheet.png has them all side by side. panels.json says what they are, and holds the drift against `previous` on test
    pictures of the step: by class, mean absolute change of z+, z- and logit. Returns what it cost.
    """
    data, index, tasks = inputs
    predictor = Predictor(folder, runtime.device, threads=runtime.threads)
    table = index_file.read(index)
    rows = table.test_rows()
    shown, strips = [], []
    for number, row in enumerate(choose(rows)):
        image, truth = reader.read_image(data / row.image), reader.read_mask(data / row.mask)
        strip = [image, truth, predictor(image)]
        strips.append([_shrunk(each, predictor) for each in strip])
        for each, name in zip(strips[-1], (f"{number}.jpg", f"{number}-truth.png", f"{number}-found.png"), strict=True):
            each.save(out / name, quality=85, optimize=True)
        shown.append({"id": row.id, "labels": sorted(row.classes), "width": strips[-1][0].width})
    _sheet(strips).save(out / "sheet.png", optimize=True)
    moved = None
    if previous is not None:
        test = set(tasks_file.read(tasks)["steps"][step]["test"])
        measured = _spaced([row for row in rows if row.id in test], MEASURED)
        moved = _drift(predictor, previous, data, measured)
    content = {
        "step": step,
        "classes": predictor.names,
        "colours": predictor.colours[: len(predictor.names)],
        "known": [int(label) for label in predictor.labels[1:]],
        "pictures": shown,
        "drift": moved,
    }
    (out / "panels.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    return {**devices.cost(predictor.device), "images": len(shown)}


def _drift(predictor: Predictor, previous: Path, data: Path, rows: Sequence[Row]) -> dict:
    before, learned = checkpoint.load(previous, predictor.device)
    images = (reader.read_image(data / row.image) for row in tqdm(rows, desc="drift", disable=None, leave=False))
    found = explain.drift(predictor.model, before, images)
    names = checkpoint.names(learned)[1:]
    return {
        "pictures": len(rows),
        "classes": {
            name: dict(zip(("positive", "negative", "logit"), map(float, values), strict=True))
            for name, values in zip(names, found, strict=True)
        },
    }


def _spaced(rows: Sequence[Row], most: int) -> list[Row]:
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def _shrunk(pixels: np.ndarray, predictor: Predictor) -> Image.Image:
    """A picture, or labels as a palette image, of at most `LARGEST` pixels a side."""
    image, labels = Image.fromarray(pixels), pixels.ndim == 2
    if labels:
        image.putpalette([value for colour in predictor.colours for value in colour])
    scale = LARGEST / max(image.size)
    if scale >= 1:
        return image
    sides = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(sides, Image.Resampling.NEAREST if labels else Image.Resampling.BILINEAR)


def _sheet(strips: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """A row per picture: as it is, its truth, what was found."""
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
