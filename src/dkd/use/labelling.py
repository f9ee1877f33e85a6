"""Labels many image files, and frames of videos, into a folder; continues there after an interruption.

Knows the files of that folder. How an image is labelled is the business of `dkd.use.predict`.
"""

import csv
import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from dkd import checkpoint, devices, files, json_file
from dkd.data import reader
from dkd.errors import InputError
from dkd.use import video
from dkd.use.images import Found, ImageFile
from dkd.use.predict import Predictor

log = logging.getLogger("dkd")
AREAS, PASSED, CALL = "areas.csv", "passed-over.csv", "predict.json"
HEADER = ("picture", "label", "class", "pixels", "share")
EXISTING = ("refuse", "continue", "overwrite")
"""What to do where the folder to write exists; the caller refuses it."""
Rows = dict[str, list[Sequence]]
"""Rows of areas.csv by picture: a path, or PATH#NUMBER for a frame."""


class Outcome(NamedTuple):
    """Summary of labelling many images."""

    done: int
    kept: int
    """Images and frames that an earlier call had labelled."""
    broken: list[str]
    """One line per file that could not be read: the file and the reason."""
    seconds: float
    pixels: int


class _Decoded(Dataset):
    """Pixels of image files, or the reason why one cannot be read."""

    def __init__(self, files: Sequence[ImageFile]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> np.ndarray | str:
        try:
            return reader.read_image(self.files[position].path)
        except InputError as error:
            return str(error)


def write(predictor: Predictor, found: Found, out: Path, *, workers: int, every: int | None, existing: str) -> Outcome:
    """Label images into the folder `out`: masks/NAME.png, overlays/NAME.jpg, areas.csv and passed-over.csv.

    A mask is an 8-bit palette PNG with the size of the upright image; its values are the labels of the data set.
    areas.csv has one row per image and class in it, background included, with the number of pixels and their share
    (0..1). passed-over.csv names what was not labelled, and why. Of a video one frame of `every` is labelled, as
    NAME/NUMBER. If interrupted, finished images stay and areas.csv lists them; if there are none, `out` is removed.

    `existing`: of EXISTING; `continue` labels what is missing. `workers`: processes that decode images. Raises
    InputError where `out` exists and is not from such a call, or is to be continued and from another one.
    """
    started = time.perf_counter()
    new, earlier = not out.exists(), _begin(predictor, found, out, every, existing)
    rows: Rows = {}
    broken, kept, total, finished = [], 0, 0, False
    colours = [value for colour in predictor.colours for value in colour]
    try:
        for picture, name, image in _decoded(found.files, earlier, out, workers, every):
            if isinstance(image, str):
                broken.append((picture, image))
            elif _is_done(picture, name, earlier, out):
                rows[picture] = earlier[picture]
                kept += 1
            else:
                image = np.asarray(image)
                labels = predictor(image)
                mask = Image.fromarray(labels)
                mask.putpalette(colours)
                _save(mask, out / "masks" / f"{name}.png")
                _save(predictor.overlay(image, labels), out / "overlays" / f"{name}.jpg")
                rows[picture] = _areas(picture, labels, predictor.names)
                total += labels.size
        finished = True
    finally:
        if new and not rows and not finished:
            shutil.rmtree(out, ignore_errors=True)
        else:
            _write_table(out / AREAS, HEADER, [row for each in {**rows, **earlier, **rows}.values() for row in each])
            passed = [(str(path), reason) for path, reason in found.passed] + broken
            _write_table(out / PASSED, ("file", "reason"), passed)
    seconds = time.perf_counter() - started
    return Outcome(len(rows) - kept, kept, [reason for _, reason in broken], seconds, total)


def _begin(predictor: Predictor, found: Found, out: Path, every: int | None, existing: str) -> Rows:
    """Make the folder, and say in it what the call is; rows of areas.csv that an earlier one has written."""
    names = "\n".join(f"{file.path}\t{file.name}" for file in found.files)
    call = {
        "checkpoint": files.digest(predictor.folder / checkpoint.WEIGHTS),
        "images": hashlib.sha256(names.encode()).hexdigest(),
        "size": predictor.size,
        "tile": predictor.tile,
        "every": every,
    }
    earlier: Rows = {}
    if out.exists():
        if not (out / CALL).is_file():
            raise InputError(f"{out}: was not written by `dkd predict` ({CALL} is missing); name another folder")
        if existing == "continue":
            earlier = _earlier(call, out)
        else:
            # The table first: without it, a call that is killed leaves nothing that looks done.
            for name in (AREAS, PASSED):
                (out / name).unlink(missing_ok=True)
            for name in ("masks", "overlays"):
                shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    with files.replacing(out / CALL) as scratch:
        scratch.write_text(json.dumps(call, indent=1) + "\n", encoding="utf-8")
    return earlier


def _earlier(call: dict[str, Any], out: Path) -> Rows:
    before = json_file.read(out / CALL, "name another folder")
    for key, value in call.items():
        if not isinstance(before, dict) or before.get(key) != value:
            raise InputError(
                f"{out}: was written with other values of {key!r}; repeat that call, or name another folder"
            )
    rows: Rows = {}
    if (out / AREAS).is_file():
        with (out / AREAS).open(newline="", encoding="utf-8") as table:
            for row in list(csv.reader(table))[1:]:
                rows.setdefault(row[0], []).append(row)
    return rows


def _is_done(picture: str, name: str, earlier: Rows, out: Path) -> bool:
    return picture in earlier and all(
        (out / place).is_file() for place in (f"masks/{name}.png", f"overlays/{name}.jpg")
    )


def _decoded(
    files: Sequence[ImageFile], earlier: Rows, out: Path, workers: int, every: int | None
) -> Iterator[tuple[str, str, Any]]:
    """Picture, name of its outputs, and its pixels: a reason (str) if they can't be read, None if it is done."""
    missing = [file for file in files if not file.is_video and not _is_done(str(file.path), file.name, earlier, out)]
    loader = iter(DataLoader(_Decoded(missing), batch_size=None, num_workers=workers, worker_init_fn=devices.outlive))
    for number, file in enumerate(tqdm(files, unit="file", desc="predict", disable=None, leave=False)):
        if file.is_video:
            try:
                for frame, pixels in video.frames(file.path, every):
                    yield f"{file.path}#{frame}", f"{file.name}/{frame:06d}", pixels
            except InputError as error:
                yield str(file.path), file.name, str(error)
        else:
            done = _is_done(str(file.path), file.name, earlier, out)
            yield str(file.path), file.name, None if done else next(loader)
        if not sys.stderr.isatty() and 10 * (number + 1) // len(files) > 10 * number // len(files) and len(files) >= 20:
            log.info("predict: %d of %d files", number + 1, len(files))


def _areas(picture: str, labels: np.ndarray, names: Sequence[str]) -> list[Sequence]:
    counts = np.bincount(labels.ravel(), minlength=256)
    return [
        (picture, label, names[label], int(counts[label]), round(float(counts[label] / labels.size), 6))
        for label in np.flatnonzero(counts).tolist()
    ]


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    with files.replacing(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as table:
        csv.writer(table, lineterminator="\n").writerows([header, *rows])


def _save(image: Image.Image, path: Path) -> None:
    with files.replacing(path) as scratch:
        image.save(scratch, quality=90)
