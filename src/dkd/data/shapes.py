"""The embedded data set: six classes that differ in outline and texture, drawn on clutter.

Written in the layout `folder`. Knows nothing of tasks or training. Everything follows from one seed; each image has
a generator of its own, so that the first images are the same however many are drawn. Colours are drawn at random for
every object and carry no information on its class.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("background", "disc", "square", "triangle", "cross", "ring", "star")
"""Class names by label."""
PALETTE = [0, 0, 0, 230, 159, 0, 86, 180, 233, 0, 158, 115, 240, 228, 66, 0, 114, 178, 204, 121, 167]
OVERSAMPLE = 4


def draw(out: Path, *, seed: int, size: int, train: int, val: int, objects: tuple[int, int]) -> None:
    """Write `train` + `val` images of `size` x `size` pixels with objects[0]..objects[1] objects each under `out`."""
    for folder in ("images", "masks", "splits"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    (out / "classes.txt").write_text("\n".join(SHAPES) + "\n")
    for number, (split, count) in enumerate((("train", train), ("val", val))):
        names = [f"{split}_{i:05d}" for i in range(count)]
        (out / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for i, name in enumerate(names):
            image, mask = _scene(np.random.default_rng([seed, number, i]), size, objects)
            Image.fromarray(image).save(out / "images" / f"{name}.png")
            palette = Image.fromarray(mask, mode="P")
            palette.putpalette(PALETTE)
            palette.save(out / "masks" / f"{name}.png")


def _scene(rng: np.random.Generator, size: int, objects: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One image (size, size, 3) and its mask (size, size), both uint8; later objects cover earlier ones."""
    image = _clutter(rng, size)
    mask = np.zeros((size, size), dtype=np.uint8)
    for _ in range(rng.integers(objects[0], objects[1] + 1)):
        label = int(rng.integers(1, len(SHAPES)))
        radius = size * rng.uniform(0.13, 0.24)
        centre = rng.uniform(radius * 0.7, size - radius * 0.7, 2)
        angle = rng.uniform(0, 2 * np.pi)
        inside = _outline(label, size, centre, radius, angle)
        foreground, background = _two_colours(rng)
        texture = _texture(label, size, centre, radius, angle)[..., None]
        image = np.where(inside[..., None], texture * foreground + (1 - texture) * background, image)
        mask[inside] = label
    image = image + rng.normal(0, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two RGB colours whose brightness differs enough for a texture to be visible."""
    dark, bright = rng.uniform(0, 110, 3), rng.uniform(145, 255, 3)
    return (dark, bright) if rng.random() < 0.5 else (bright, dark)


def _clutter(rng: np.random.Generator, size: int) -> np.ndarray:
    """Background: a smooth colour field with scattered lines and discs that belong to no class."""
    coarse = Image.fromarray(rng.integers(60, 200, (4, 4, 3), dtype=np.uint8))
    canvas = coarse.resize((size, size), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(4, 9)):
        (x, y), (dx, dy) = rng.uniform(0, size, 2), rng.uniform(-0.25, 0.25, 2) * size
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        if rng.random() < 0.6:
            pen.line([x, y, x + dx, y + dy], fill=colour, width=int(rng.integers(1, 3)))
        else:
            r = size * rng.uniform(0.02, 0.05)
            pen.ellipse([x - r, y - r, x + r, y + r], fill=colour)
    return np.asarray(canvas, dtype=np.float64)


def _outline(label: int, size: int, centre: np.ndarray, radius: float, angle: float) -> np.ndarray:
    """Mask (size, size) bool of the pixels that the shape of class `label` covers."""
    canvas = Image.new("L", (size * OVERSAMPLE, size * OVERSAMPLE))
    pen = ImageDraw.Draw(canvas)
    name = SHAPES[label]

    def corners(radii: list[float]) -> list[tuple[float, float]]:
        turns = angle + 2 * np.pi * np.arange(len(radii)) / len(radii)
        points = centre + radius * np.asarray(radii)[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        return [tuple(point * OVERSAMPLE) for point in points]

    def circle(r: float, fill: int) -> None:
        box = [*(centre - r) * OVERSAMPLE, *(centre + r) * OVERSAMPLE]
        pen.ellipse(box, fill=fill)

    if name == "disc":
        circle(radius * 0.85, 255)
    elif name == "square":
        pen.polygon(corners([1] * 4), fill=255)
    elif name == "triangle":
        pen.polygon(corners([1.15] * 3), fill=255)
    elif name == "cross":
        arm = 0.36
        tip, notch = np.hypot(1, arm), np.hypot(arm, arm)
        half = np.arctan2(arm, 1)
        turns = [q * np.pi / 2 + t for q in range(4) for t in (-half, half, np.pi / 4)]
        radii = [tip, tip, notch] * 4
        points = [
            centre + radius * r * np.array([np.cos(angle + t), np.sin(angle + t)])
            for r, t in zip(radii, turns, strict=True)
        ]
        pen.polygon([tuple(p * OVERSAMPLE) for p in points], fill=255)
    elif name == "ring":
        circle(radius, 255)
        circle(radius * 0.5, 0)
    else:
        pen.polygon(corners([1.2, 0.55] * 5), fill=255)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX)) >= 128


def _texture(label: int, size: int, centre: np.ndarray, radius: float, angle: float) -> np.ndarray:
    """Weight (size, size) in 0..1 of the first colour in the texture of class `label`, rotated with the object."""
    y, x = np.mgrid[:size, :size] + 0.5
    x, y = x - centre[0], y - centre[1]
    u = (x * np.cos(angle) + y * np.sin(angle)) * 64 / size
    v = (-x * np.sin(angle) + y * np.cos(angle)) * 64 / size
    wave = 2 * np.pi / 5
    pattern = {
        "disc": np.sin(u * wave),
        "square": np.sin(u * wave) * np.sin(v * wave) * 2,
        "triangle": np.cos(u * wave * 0.8) + np.cos(v * wave * 0.8) - 0.9,
        "cross": (u + v) / (0.45 * radius * 64 / size),
        "ring": np.sin(np.arctan2(v, u) * 8),
        "star": np.sin(np.hypot(u, v) * wave),
    }[SHAPES[label]]
    return np.clip(0.5 + 1.5 * pattern, 0, 1)
