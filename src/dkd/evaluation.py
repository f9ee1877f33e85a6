"""Evaluation of a checkpoint on the test images of its step: confusion matrices, and metrics from them.

Knows nothing of methods or training. Protocols: `paper` = image and labels resized to a shorter side of `crop`, central
square; `full_image` = every image as it is, every pixel counted once.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from dkd import bilinear, checkpoint, devices, metrics
from dkd.data import classes, reader, transforms
from dkd.data import index as index_file
from dkd.data import tasks as tasks_file
from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.errors import InputError
from dkd.model.segmenter import Output, Segmenter
from dkd.terms import bands, unknown

PROTOCOLS = ("paper", "full_image")
CENTRE = torch.tensor(0.75).view(torch.int32).item()
"""Bits of the float32 in the middle between 0.5 and 1."""


@torch.no_grad()
def predict_labels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Ids (N, H, W) uint8 from the logits (N, K, h, w) of the foreground classes, upsampled to `size`; K < 255.

    The class of the highest sigmoid, or background (0) where none exceeds 0.5. Of equal sigmoids (float32; logits above
    about 17 all have the sigmoid 1) the first class wins, as in the release.
    """
    grid = logits.float().transpose(0, 1)
    # The bits of sigmoids from 0.5 to 1 are consecutive integers. Shifted by a byte, with 255 - id in that byte, their
    # running maximum is the prediction: of equal sigmoids the lower id wins, and background is an id of score 0.5.
    best = torch.full((len(logits), *size), _coded(0.5, 0), dtype=torch.int32, device=logits.device)
    resize = bilinear.Resize(grid.shape[-2:], size, grid, stride=1)
    scores, codes = (bilinear.planes(len(grid), best.shape, grid, dtype) for dtype in (torch.float32, torch.int32))
    highest = torch.empty_like(best)
    # A class without a positive logit on the grid has none between its cells either.
    candidates = (grid.amax((1, 2, 3)) > 0).nonzero().flatten()
    with torch.autocast(logits.device.type, enabled=False):
        for part in bilinear.chunks(len(candidates), best.numel(), logits.device):
            ids, count = classes.channel_to_id(candidates[part]), part.stop - part.start
            x, code = scores[:count], codes[:count]
            bits = resize.up(grid[candidates[part]], x).sigmoid_().clamp_(min=0.5).view(torch.int32).sub_(CENTRE)
            torch.add((255 - ids).to(torch.int32)[:, None, None, None], bits, alpha=256, out=code)
            torch.maximum(best, torch.amax(code, 0, out=highest), out=best)
    return (255 - best.bitwise_and_(255)).to(torch.uint8)


def _coded(score: float, id: int) -> int:
    return (torch.tensor(score).view(torch.int32).item() - CENTRE) * 256 + 255 - id


@torch.no_grad()
def predict(model: Segmenter, images: Tensor) -> Tensor:
    """Ids (N, H, W) uint8 of normalised images (N, 3, H, W)."""
    return decide(model(images))


@torch.no_grad()
def decide(output: Output) -> Tensor:
    """Ids (N, H, W) uint8: with sigmoids as `predict_labels`, with an unknown class as `terms.unknown.decide`; with a
    softmax those of the highest logits.
    """
    if output.background is None:
        return predict_labels(output.scores, output.size)
    if output.unknown is not None:
        return unknown.decide(output.channels, output.size)
    upsampled = bands.Upsampled(output.channels, output.size)
    ids = torch.empty((len(output.features), *output.size), dtype=torch.uint8, device=output.features.device)
    for part in upsampled.parts():
        ids[part] = upsampled[part].argmax(1)
    return ids


class EvalViews(Dataset):
    """Test images; of each the views that the protocols evaluate: (protocols, image uint8, labels)."""

    def __init__(self, root: Path, rows: list[index_file.Row], encoding: classes.Encoding, crop: int):
        self.root, self.rows, self.encoding, self.crop = root, rows, encoding, crop

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> list[tuple[tuple[str, ...], Tensor, np.ndarray]]:
        row = self.rows[position]
        image, labels = reader.read_pair(self.root / row.image, self.root / row.mask, self.encoding)
        whole = transforms.channels_first(image), labels
        if labels.shape == (self.crop, self.crop):
            return [(PROTOCOLS, *whole)]
        return [(("paper",), *transforms.centre_view(image, labels, self.crop)), (("full_image",), *whole)]


def confusion_matrices(
    model: Segmenter, views: Iterable[list], table: np.ndarray, ids: int, device: torch.device | str
) -> dict[str, np.ndarray]:
    """Confusion matrix (ids, ids) per protocol; `views`: batches of `EvalViews`; `table`: from stored values to ids."""
    counts = {protocol: np.zeros((ids, ids), dtype=np.int64) for protocol in PROTOCOLS}
    for batch in views:
        groups = defaultdict(list)
        for view in batch:
            groups[(view[0], view[1].shape)].append(view)
        for (protocols, _), group in groups.items():
            images = torch.stack([image for _, image, _ in group]).to(device, non_blocking=True)
            predicted = predict(model, transforms.normalise(images)).cpu().numpy()
            truth = np.take(table, np.stack([labels for _, _, labels in group]))
            found = metrics.confusion(truth, predicted, ids)
            for protocol in protocols:
                counts[protocol] += found
    return counts


def check_names(names: Sequence[str], learned: checkpoint.Step, where: Path, folder: Path) -> None:
    """Raise InputError where the labels of a data set have other `names` than for the checkpoint in `folder`.

    `where`: the file with `names`, shown in the error. Label 0 is background, whatever its name; either list may be
    longer than the other.
    """
    for label, (theirs, ours) in enumerate(zip(names, learned.class_names, strict=False)):
        if label and theirs != ours:
            raise InputError(
                f"{where}: label {label} is {theirs!r}, but {ours!r} in {folder}; evaluate it on images with its own "
                "labels, or with an index that uses them (--index, such as the index.csv that `dkd extend` writes)"
            )


class Scoring(NamedTuple):
    """How predictions are scored."""

    base: int
    """How many classes count as base."""
    crop: int
    """Side in pixels of the central square of the protocol `paper`."""
    unseen: str
    """Labels of classes not learned yet are `background` (VOC) or `ignore`d (ADE20K)."""
    count_background: bool
    """Whether background is a class of the base (paper: "old")."""
    absent: str
    """Classes that neither occur nor are predicted are `leave_out` of means or count as `zero` (as released)."""


def evaluate(folder: Path, step: int, scoring: Scoring, inputs: Inputs, runtime: Runtime, out: Path) -> dict:
    """Evaluate the checkpoint in `folder` on the test images of `step`; write metrics.json and confusion.npz to `out`.

    Several processes share the images, each of which counts once. Returns the cost. Raises InputError where the labels
    of the index are not those of the checkpoint, or no test image shows a class that it has learned.
    """
    data, index, tasks = inputs
    accelerator = devices.accelerator(runtime.device, runtime.threads, "fp32")
    model, learned = checkpoint.load(folder, accelerator.device)
    steps = tasks_file.read(tasks)["steps"]
    if step >= len(steps):
        raise InputError(f"{tasks}: has steps 0..{len(steps) - 1}, {folder} has learned {step + 1} steps")
    wanted, content = set(steps[step]["test"]), index_file.read(index)
    check_names(content.class_names, learned, index.with_suffix(".json"), folder)
    rows = [row for row in content.test_rows() if row.id in wanted]
    if len(rows) != len(wanted):
        raise InputError(f"{tasks}: {len(wanted) - len(rows)} test images of step {step} are not in {index}")
    if not rows:
        split = index_file.test_split(row.split for row in content.rows)
        raise InputError(
            f"{data}: no {split} image shows a class that {folder} has learned, so there is nothing to evaluate; "
            "check the masks of that split, or add images to it that show one"
        )
    rest = 0 if scoring.unseen == "background" else classes.VOID
    table = classes.value_to_id(content.stored, learned.order, learned.order, rest)
    own = rows[accelerator.process_index :: accelerator.num_processes]
    loader = DataLoader(
        EvalViews(data, own, content.encoding, scoring.crop),
        batch_size=runtime.evaluate_batch,
        num_workers=runtime.workers,
        worker_init_fn=devices.outlive,
        collate_fn=_flatten,
        pin_memory=accelerator.device.type == "cuda",
    )
    names = checkpoint.names(learned)
    hidden = None if accelerator.is_main_process else True
    views = tqdm(loader, desc="evaluate", disable=hidden, leave=False)
    with devices.explained(f"{runtime.evaluate_batch} images at once; lower runtime.evaluate_batch"):
        found = confusion_matrices(model, views, table, len(names), accelerator.device)
    counts = {
        name: accelerator.reduce(torch.from_numpy(found).to(accelerator.device), reduction="sum").cpu().numpy()
        for name, found in found.items()
    }
    if accelerator.is_main_process:
        how = scoring.base, scoring.count_background, scoring.absent
        found = {name: metrics.summary(counts[name], names, *how) for name in PROTOCOLS}
        text = json.dumps({"step": step, "protocols": found}, indent=1, ensure_ascii=False)
        (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
        np.savez_compressed(out / "confusion.npz", names=np.array(names), **counts)
    return {**devices.cost(accelerator.device), "processes": accelerator.num_processes, "images": len(rows)}


def _flatten(views: list[list]) -> list:
    return [view for each in views for view in each]
