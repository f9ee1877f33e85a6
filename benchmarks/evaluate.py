"""Evaluation of one image: upsample, predict labels, count; without and with the network; against the textbook form."""

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import earlier, measure
from dkd import evaluation, metrics
from dkd.config import schema as config
from dkd.model.segmenter import Segmenter
from tests import plain

SIZE = (512, 512)


def build(classes: int, shown: int) -> measure.Variants:
    """Random logits in which `shown` of the classes exceed the threshold somewhere."""
    torch.manual_seed(0)
    grid = F.interpolate(torch.randn(1, classes, 8, 8), size=(32, 32)) * 3 + torch.randn(1, classes, 32, 32)
    grid[:, shown:] = -grid[:, shown:].abs() - 0.1
    grid = grid.to(measure.DEVICE)
    truth = np.random.RandomState(0).randint(0, classes + 1, (1, 32, 32)).repeat(16, 1).repeat(16, 2).astype(np.uint8)
    truth[:, :20] = 255

    def textbook():
        predicted = plain.predict_labels(plain.upsample(grid, SIZE)).cpu().numpy()
        known = truth <= classes
        pairs = truth[known].astype(np.int64) * (classes + 1) + predicted[known]
        return np.bincount(pairs, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)

    def ours():
        return metrics.confusion(truth, evaluation.predict_labels(grid, SIZE).cpu().numpy(), classes + 1)

    return {"plain": textbook, "before": earlier.form(ours), "dkd": ours}


def whole(classes: int) -> tuple[Segmenter, measure.Variants]:
    """ResNet-101, and from a normalised image to its labels by it; before, as plain, with channels first."""
    torch.manual_seed(0)
    model = Segmenter({**config.Model().model_dump(), "pretrained": False}, [classes]).eval().to(measure.DEVICE)
    last = Segmenter(model.spec, [classes]).eval()
    last.load_state_dict(model.state_dict())
    last = last.to(measure.DEVICE, memory_format=torch.channels_last)
    image = torch.randn(1, 3, *SIZE).to(measure.DEVICE)

    @torch.no_grad()
    def textbook():
        return plain.predict_labels(plain.upsample(model(image).scores, SIZE)).cpu()

    before = earlier.form(lambda: evaluation.predict(model, image).cpu())
    return model, {"plain": textbook, "before": before, "dkd": lambda: evaluation.predict(last, image).cpu()}


def main() -> None:
    measure.start()
    rows, lines = [], []
    for classes, shown in ((150, 150), (150, 10), (20, 20), (20, 4)):
        variants = build(classes, shown)
        moved = np.abs(variants["plain"]() - variants["dkd"]()).sum() // 2
        taken = measure.rounds(variants, 15)
        time = measure.medians(taken)
        space = {name: measure.peak(build, name, classes, shown) for name in variants}
        for name in variants:
            label = f"{classes} classes, {shown} of them shown, {name}"
            gain = measure.faster(taken, "plain", name), space["plain"] / space[name]
            rows.append((label, time[name] * 1e3, space[name], *gain, f"{moved}"))
        lines.append((f"deciding and counting, {classes} classes, {shown} of them predicted", taken))
    measure.table(("per image, 512 x 512", "ms", "peak MB", "times faster", "times less", "pixels differ"), rows)
    model, variants = whole(20)
    taken = measure.rounds(variants, 7)
    least = measure.operations(lambda: model(torch.zeros(1, 3, *SIZE, device=measure.DEVICE))) * measure.products()
    lines.append(("evaluation with ResNet-101, 20 classes", {**taken, "limit": [least]}))
    for part, found in lines:
        measure.line(f"{part}, 512 x 512", found)


if __name__ == "__main__":
    main()
