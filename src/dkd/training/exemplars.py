"""Memory for replay: which images of earlier steps are kept, balanced over the classes learned so far.

Candidates are the exemplars kept before and the training images of the step just learned, no others. A candidate shows
the classes of its own labels, and those of other steps that the network just trained predicts with confidence. Knows
nothing of losses or of how exemplars are trained on.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dkd import checkpoint, devices, files, seeds
from dkd.data import classes, reader, transforms
from dkd.data import tasks as tasks_file
from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter, upsample

FILE, MASKS = "memory.json", "masks"


class Exemplar(NamedTuple):
    """An image that is kept: `step` is that of the task it comes from, `classes` the labels that it shows."""

    id: str
    step: int
    classes: tuple[int, ...]


class Selection(NamedTuple):
    """Which exemplars are kept."""

    size: int
    """The most exemplars."""
    confidence: float
    """Sigmoid that a prediction has to exceed to be a pseudo-label."""
    seed: int


def choose(candidates: Iterable[Exemplar], classes: Sequence[int], size: int, seed: int) -> list[Exemplar]:
    """At most `size` of `candidates`, sorted by id; fewer if no candidate is left that shows one of `classes`.

    Greedy: the class with the fewest exemplars so far (the first of several) gets one more, drawn at random from the
    candidates that show it.
    """
    candidates = list(candidates)
    queues = {
        label: sorted(
            (each for each in candidates if label in each.classes), key=lambda each: seeds.derive(seed, label, each.id)
        )
        for label in classes
    }
    chosen: dict[str, Exemplar] = {}
    counts = dict.fromkeys(classes, 0)
    while len(chosen) < size and queues:
        label = min(queues, key=counts.__getitem__)
        queue = queues[label]
        while queue and queue[-1].id in chosen:
            queue.pop()
        if not queue:
            del queues[label]
            continue
        exemplar = queue.pop()
        chosen[exemplar.id] = exemplar
        for shown in exemplar.classes:
            if shown in counts:
                counts[shown] += 1
    return [chosen[id] for id in sorted(chosen)]


def build(
    folder: Path,
    step: int,
    selection: Selection,
    before: Path | None,
    inputs: Inputs,
    runtime: Runtime,
    out: Path,
) -> dict:
    """Choose the exemplars that step `step` replays; write memory.json and their completed masks into `out`.

    `folder`: checkpoint of step `step` - 1. `before`: the memory of that step, None for the first. A completed mask
    holds the image's own labels and, where these are 0, the network's confident predictions. Returns the cost.
    Raises InputError where these do not belong together, or there is nothing to keep.
    """
    data, index, tasks = inputs
    accelerator = devices.accelerator(runtime.device, runtime.threads, "fp32")
    model, learned = checkpoint.load(folder, accelerator.device)
    table, content = tasks_file.read_both(inputs)
    if not 1 <= step < len(content["steps"]):
        raise InputError(f"{tasks}: has steps 0..{len(content['steps']) - 1}; step {step} has nothing to replay")
    if len(learned.sizes) != step:
        raise InputError(f"{folder}: has learned {len(learned.sizes)} steps; the memory of step {step} needs {step}")
    if before and step == 1:
        raise InputError(f"{before}: step 1 is the first that replays; there is no earlier memory, leave it out")
    rows = {row.id: row for row in table.of("train")}
    origin = dict.fromkeys(content["steps"][step - 1]["train"], step - 1)
    origin |= {exemplar.id: exemplar.step for exemplar in (read(before, content, step - 1) if before else [])}
    if foreign := sorted(origin.keys() - rows.keys()):
        raise InputError(f"{tasks}: image {foreign[0]!r} is not in the train split of {index}")
    known = classes.id_to_label(learned.order)

    def completed(id: str) -> np.ndarray:
        own = content["steps"][: origin[id] + 1]
        order = [label for each in own for label in each["classes"]]
        visible = tasks_file.visible_labels(content["setting"], order, [len(each["classes"]) for each in own])
        image, values = reader.read_pair(data / rows[id].image, data / rows[id].mask, table.encoding)
        mask = classes.value_to_visible_label(table.stored, visible)[values]
        size = f"{image.shape[1]} x {image.shape[0]}"
        with devices.explained(f"{data / rows[id].image} at once, {size}; choose on a CPU, or make it smaller"):
            predicted = known[_confident(model, image, selection.confidence, accelerator.device)]
        # Of labelled classes, labels are right and predictions are not needed.
        return np.where((mask == 0) & ~np.isin(predicted, visible), predicted, mask)

    candidates = []
    for id in tqdm(sorted(origin), desc="memory", disable=None, leave=False):
        shown = np.flatnonzero(np.bincount(completed(id).ravel(), minlength=256))
        candidates.append(Exemplar(id, origin[id], tuple(int(x) for x in shown if x not in (0, classes.VOID))))
    chosen = choose(candidates, learned.order, selection.size, seeds.derive(selection.seed, step, "memory"))
    if not chosen:
        raise InputError(f"{tasks}: none of {len(candidates)} candidates for step {step} shows a class learned so far")
    (out / MASKS).mkdir()
    for exemplar in chosen:
        path = out / MASKS / f"{exemplar.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(completed(exemplar.id)).save(path)
    listed = [exemplar._asdict() for exemplar in chosen]
    (out / FILE).write_text(json.dumps({"step": step, "exemplars": listed}, indent=1) + "\n", encoding="utf-8")
    return {**devices.cost(accelerator.device), "images": len(candidates), "exemplars": len(chosen)}


def read(folder: Path, tasks: dict, step: int) -> list[Exemplar]:
    """The exemplars for step `step` from a folder written by `build`; `tasks`: content of the tasks file.

    Raises InputError if they are those of another step, there are none, or one is not a training image of an earlier
    step.
    """
    file = folder / FILE
    try:
        files.check_regular(file)
        content = json.loads(file.read_text(encoding="utf-8"))
        own, exemplars = content["step"], []
        for each in content["exemplars"]:
            exemplars.append(Exemplar(each["id"], each["step"], tuple(each["classes"])))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; make it with `dkd memory`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not a list of exemplars ({error!r})") from None
    if type(own) is not int or own != step:
        raise InputError(f"{file}: step: these are the exemplars of step {own!r}; make those of step {step}")
    if not exemplars:
        raise InputError(f"{file}: exemplars: there are none; make them with `dkd memory`")
    for id, origin, shown in exemplars:
        if type(id) is not str or any(type(number) is not int for number in (origin, *shown)):
            raise InputError(
                f"{file}: exemplar {id!r}: expected a word as id, whole numbers as step and classes, "
                f"got step {origin!r}, classes {list(shown)}; make it with `dkd memory`"
            )
        if not 0 <= origin < step or id not in tasks["steps"][origin]["train"]:
            raise InputError(
                f"{file}: exemplar {id!r} is no training image of a step before {step} (it names step {origin}); "
                "make it with `dkd memory` from these tasks"
            )
    return exemplars


@torch.no_grad()
def _confident(model: Segmenter, image: np.ndarray, confidence: float, device: torch.device) -> np.ndarray:
    """Ids (H, W) of one image: the class of the highest probability where that exceeds `confidence`, else 0."""
    output = model(transforms.normalise(transforms.channels_first(image))[None].to(device))
    if model.head != "softmax":
        scores = upsample(output.scores, output.size)[0].sigmoid_()
    else:
        scores = upsample(output.channels, output.size)[0].softmax(0)[1:]
    best, winner = scores.max(dim=0)
    return torch.where(best > confidence, classes.channel_to_id(winner), 0).cpu().numpy()
