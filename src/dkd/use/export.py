"""Writes a network with everything that it needs to one file for other programs: ONNX, TorchScript or torch.export.

The file takes RGB pixels as they are and gives labels and scores; normalisation, decision and class names are inside.
Knows nothing of image files: images are seen in one piece, at their own size.
"""

import json
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dkd import checkpoint
from dkd.checkpoint import Step
from dkd.data import classes, transforms
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter, upsample

FORMATS = {"onnx": ".onnx", "torchscript": ".pt", "torch": ".pt2"}
"""Formats and the suffixes of their files."""
INPUT, OUTPUTS = "images", ("labels", "scores")
FACTS = "dkd.json"
"""Where a file holds names and numbers: a key of ONNX's metadata, or an extra file of torch."""
TRIED = 256
"""Side in pixels of the image that a file is tried with, if it takes any size."""
MULTIPLE = "its backbone works on sides that are multiples of {}, so the file holds one size; name it (--size)"
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Images (N, 3, H, W) uint8 -> labels (N, H, W) uint8 and scores (N, K, H, W) float32."""


class Written(NamedTuple):
    """What was measured of a file."""

    bytes: int
    """Its size."""
    side: int
    """Side in pixels of the image that it was tried with."""
    seconds: float
    """For this image: the fastest of three."""
    checkpoint_seconds: float
    """The same for the network in torch."""
    equal: float
    """Share of the pixels with the label that the checkpoint gives them."""


class Whole(nn.Module):
    """A network from pixels to labels, of operations that all formats have.

    The labels are those of `dkd.evaluation.predict`, computed with all classes at full size at once.
    """

    def __init__(self, model: Segmenter, order: tuple[int, ...]):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(transforms.MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(transforms.STD)[:, None, None])
        self.register_buffer("table", torch.from_numpy(classes.id_to_label(order)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """RGB images (N, 3, H, W) uint8 -> labels (N, H, W) uint8; scores (N, K, H, W) float32, as of Predictor."""
        output = self.model((images.float() / 255 - self.mean) / self.std)
        if self.model.head == "softmax":
            scores = upsample(output.channels, images.shape[-2:]).softmax(1)
            return self.table[scores.argmax(1)], scores[:, 1:]
        if self.model.head == "unknown":
            scores = upsample(output.channels, images.shape[-2:]).sigmoid()
            decisive = torch.cat((scores[:, :1] + scores[:, 1:2], scores[:, 2:]), dim=1)
            return self.table[decisive.argmax(1)], scores[:, 2:]
        scores = upsample(output.scores, images.shape[-2:]).sigmoid()
        best, index = scores.max(1)
        return self.table[torch.where(best > 0.5, index + 1, 0)], scores


def export(folder: Path, format: str, side: int | None, out: Path) -> Written:
    """Write the checkpoint in `folder` to the file `out` and try it with an image of noise.

    `format`: of FORMATS. `side`: of the square images that the file takes, one at a time; None: any number of images of
    any size. Raises InputError where the backbone needs a fixed size, a package is missing, or the format can't hold
    the network.
    """
    model, step = checkpoint.load(folder, "cpu")
    if side is None and model.multiple > 1:
        raise InputError(f"{folder}: {MULTIPLE.format(model.multiple)}")
    if format == "onnx":
        _runtime()
    # Two images, since an exporter takes the number 1 for fixed.
    example = torch.zeros((2, 3, 64, 96) if side is None else (1, 3, side, side), dtype=torch.uint8)
    free = torch.export.Dim.DYNAMIC
    sizes = {"dynamic_shapes": ({0: free, 2: free, 3: free},)} if side is None else {}
    whole = Whole(model, step.order).eval().requires_grad_(False)
    facts = json.dumps(_facts(step, side), ensure_ascii=False)
    try:
        with warnings.catch_warnings(action="ignore"):
            WRITERS[format](whole, example, sizes, facts, out)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, torch.onnx.OnnxExporterError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        advice = "name a fixed size (--size) or another format" if side is None else "take another format"
        raise InputError(f"{folder}: can't be exported as {format} ({reason[:200]}); {advice}") from None
    image = np.random.default_rng(0).integers(0, 256, (1, 3, side or TRIED, side or TRIED), dtype=np.uint8)
    (labels, _), seconds = _timed(READERS[format](out), image)
    (expected, _), alone = _timed(_torch(whole), image)
    equal = float((labels == expected).mean())
    return Written(out.stat().st_size, image.shape[-1], seconds, alone, equal)


def _facts(step: Step, side: int | None) -> dict[str, Any]:
    """What a program that reads the file has to know, and where the network is from."""
    return {
        "names": step.class_names,
        "learned": checkpoint.names(step)[1:],
        "input": "RGB, uint8, (N, 3, H, W)" if side is None else f"RGB, uint8, (1, 3, {side}, {side})",
        "outputs": {"labels": "index into names, (N, H, W)", "scores": "probabilities of learned, (N, K, H, W)"},
        "normalised_inside": {"mean": transforms.MEAN, "std": transforms.STD},
        "dataset": step.dataset,
        "method": step.method,
        "seed": step.seed,
        "step": len(step.sizes) - 1,
    }


def _write_onnx(whole: Whole, example: Tensor, sizes: dict, facts: str, out: Path) -> None:
    names = {"input_names": [INPUT], "output_names": list(OUTPUTS)}
    program = torch.onnx.export(whole, (example,), dynamo=True, verbose=False, **names, **sizes)
    program.model.metadata_props[FACTS] = facts
    program.save(out, external_data=False)


def _write_torchscript(whole: Whole, example: Tensor, sizes: dict, facts: str, out: Path) -> None:
    traced = torch.jit.trace(whole, (example,), check_trace=False)
    torch.jit.save(traced, str(out), _extra_files={FACTS: facts})


def _write_torch(whole: Whole, example: Tensor, sizes: dict, facts: str, out: Path) -> None:
    torch.export.save(torch.export.export(whole, (example,), **sizes), out, extra_files={FACTS: facts})


def _read_onnx(path: Path) -> Run:
    session = _runtime()(path, providers=["CPUExecutionProvider"])
    return lambda images: tuple(session.run(list(OUTPUTS), {INPUT: images}))


def _runtime() -> Callable:
    """onnxruntime's session with as many threads as torch; InputError where a package is missing."""
    try:
        import onnx  # noqa: F401 - by torch
        import onnxruntime
        import onnxscript  # noqa: F401 - by torch
    except ImportError as error:
        raise InputError(f'--format: onnx needs the package {error.name}; pip install -e ".[onnx]"') from None
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return lambda path, **more: onnxruntime.InferenceSession(str(path), options, **more)


def _torch(module: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Run:
    @torch.no_grad()
    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels, scores = module(torch.from_numpy(images))
        return labels.numpy(), scores.numpy()

    return run


def _read_torchscript(path: Path) -> Run:
    with warnings.catch_warnings(action="ignore"):
        return _torch(torch.jit.load(str(path)))


def _timed(run: Run, image: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    found, times = run(image), []
    for _ in range(3):
        started = time.perf_counter()
        run(image)
        times.append(time.perf_counter() - started)
    return found, min(times)


WRITERS = {"onnx": _write_onnx, "torchscript": _write_torchscript, "torch": _write_torch}
READERS = {
    "onnx": _read_onnx,
    "torchscript": _read_torchscript,
    "torch": lambda path: _torch(torch.export.load(path).module()),
}
