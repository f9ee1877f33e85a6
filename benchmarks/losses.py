"""Loss terms and gradients from the feature grid of 1/16: against the textbook and the earlier form; how they scale."""

import math

import torch
from torch.nn import functional as F

from benchmarks import earlier, measure
from dkd.data.classes import MAX_CLASSES, VOID
from dkd.losses import Target
from dkd.methods import dkd
from dkd.model.segmenter import Output
from tests import plain

WIDTH = 256


def inputs(old: int, new: int, batch: int, size: int, dtype: torch.dtype, computed: torch.dtype | None = None):
    """Outputs of student and teacher, and labels in squares: background, every new class and void.

    Values are rounded to `dtype` (weights: float32, as under autocast), then converted to `computed` if given.
    """
    torch.manual_seed(0)
    device, grid = measure.DEVICE, size // 16

    def output(sizes: tuple[int, ...]) -> Output:
        logits = [F.interpolate(torch.randn(batch, k, grid // 4, grid // 4), size=(grid, grid)) * 3 - 2 for k in sizes]
        leaves = [torch.rand(batch, WIDTH, grid, grid), *logits, torch.randn(batch, 1, grid, grid)]
        leaves = [leaf.to(dtype) for leaf in leaves] + [torch.randn(k, WIDTH) / 16 for k in sizes]
        features, *rest = (leaf.to(device, computed or leaf.dtype).requires_grad_() for leaf in leaves)
        steps = len(sizes)
        return Output(features, tuple(rest[:steps]), rest[steps], tuple(rest[steps + 1 :]), (size, size))

    student, teacher = output((old, new)), output((old,))
    labels = (
        torch.randint(0, new + 2, (batch, 16, 16)).repeat_interleave(size // 16, 1).repeat_interleave(size // 16, 2)
    )
    labels = torch.where(labels == new + 1, VOID, torch.where(labels > 0, labels + old, 0)).to(device)
    # More classes than masks of 8 bits can hold are for `grow` alone.
    labels = labels.to(torch.uint8 if old + new <= MAX_CLASSES else torch.int16)
    detached = Output(
        *(x.detach() if torch.is_tensor(x) else tuple(y.detach() for y in x) for x in teacher[:4]), student.size
    )
    return student, detached, Target(labels, old + 1, 1.0, "negative", None)


def build(old: int, new: int, batch: int, size: int, dtype=torch.float32, computed=None) -> measure.Variants:
    student, teacher, target = inputs(old, new, batch, size, dtype, computed)
    leaves = [student.features, *student.logits, student.auxiliary, *student.weights]

    def run(form):
        total, _ = form(student, teacher, target, **plain.OPTIONS)
        return total.detach(), torch.autograd.grad(total, leaves, allow_unused=True)

    return {
        "plain": lambda: run(plain.dkd),
        "before": lambda: run(earlier.form(dkd.loss)),
        "dkd": lambda: run(dkd.loss),
    }


def sigmoids(old: int, new: int, batch: int, size: int) -> measure.Variants:
    """A bound from below: one sigmoid of every logit at full size, the teacher's too, in pieces that stay in caches."""
    piece = torch.zeros(2**18, device=measure.DEVICE)
    out, pieces = torch.empty_like(piece), (2 * old + new) * batch * size**2 // len(piece)
    return {"limit": lambda: [torch.sigmoid(piece, out=out) for _ in range(pieces)]}


def off(variants: measure.Variants, exact: measure.Variants, name: str) -> float:
    """Largest deviation of loss or gradient from the plain form in double precision, relative to the largest value."""
    (total, ours), (expected, theirs) = variants[name](), exact["plain"]()
    pairs = [(total, expected), *((a, b) for a, b in zip(ours, theirs, strict=True) if b is not None)]
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def moved(old: int, new: int, batch: int, dtype: torch.dtype) -> int:
    """Bytes that a loss must at least read and write: outputs of both networks, labels, gradients of the student."""
    student, teacher, target = inputs(old, new, batch, 512, dtype)
    ours = [student.features, *student.logits, student.auxiliary, *student.weights]
    theirs = [teacher.features, *teacher.logits, *teacher.weights]
    return sum(x.nbytes for x in [*ours, *ours, *theirs, target.labels])


def copy_speed() -> float:
    """Bandwidth of a large copy in bytes per second, reads and writes."""
    a = torch.empty(2**28, device="cuda")
    b = torch.empty_like(a)
    speed = 2 * a.nbytes / measure.seconds({"copy": lambda: b.copy_(a)}, 9)["copy"]
    print(f"copy bandwidth: {speed / 1e9:.0f} GB/s")
    return speed


def compare(old: int, new: int, batch: int, dtype: torch.dtype, speed: float) -> None:
    """Print both forms for one case; with the bandwidth `speed`, also relative to the bytes that must be moved."""
    case = (old, new, batch, 512)
    variants, exact = build(*case, dtype), build(*case, dtype, torch.float64)
    apart = {name: off(variants, exact, name) for name in variants}
    del exact
    taken = measure.rounds({**variants, **sigmoids(*case)}, 9)
    time = measure.medians(taken)
    space = {name: measure.peak(build, name, *case, dtype) for name in variants}
    head, rows = ["ms", "peak MB", "times faster", "times less", "off by"], []
    if speed:
        head += ["images/s", "times its bytes' copy"]
    for name in variants:
        row = [name, time[name] * 1e3, space[name], measure.faster(taken, "plain", name), space["plain"] / space[name]]
        row.append(apart[name])
        if speed:
            row += [batch / time[name], time[name] * speed / moved(old, new, batch, dtype)]
        rows.append(tuple(row))
    kind = str(dtype).removeprefix("torch.")
    measure.table((f"{old + new} classes, 512 x 512, batch {batch}, {kind}", *head), rows)
    measure.line(f"losses and gradient, {old + new} classes, 512 x 512, batch {batch}, {kind}", taken)


def main() -> None:
    measure.start()
    torch.backends.cudnn.allow_tf32 = False
    gpu = measure.DEVICE.type == "cuda"
    speed = copy_speed() if gpu else 0.0
    for old, new in ((100, 50), (15, 5)):
        for batch in (8, 24) if gpu else (2,):
            for dtype in (torch.float32, torch.bfloat16) if gpu else (torch.float32,):
                compare(old, new, batch, dtype, speed)

    grow()


def grow() -> None:
    """Time and memory by number of classes, of pixels and of images, one of them at a time."""
    by_classes = [(k - 5, 5, 2, 256) for k in (20, 150, 400, 1000)]
    by_pixels = [(95, 5, 2, side) for side in (128, 256, 512)]
    by_images = [(95, 5, n, 256) for n in (1, 4, 8)]
    time = {case: measure.seconds({"": build(*case)["dkd"]}, 5)[""] for case in by_classes + by_pixels + by_images}
    space = {case: measure.peak(build, "dkd", *case) for case in time}
    rows = []
    for case, taken in time.items():
        old, new, batch, size = case
        values = (old + new) * batch * size * size
        rows.append((f"{old + new} classes, batch {batch}, {size} x {size}", taken * 1e3, taken / values * 1e9))
        rows[-1] += (space[case],)
    measure.table(("growth", "ms", "ns per value", "peak MB"), rows)
    for what, cases, factor in (
        ("classes", by_classes, 1000 / 20),
        ("pixels", by_pixels, (512 / 128) ** 2),
        ("images", by_images, 8),
    ):
        powers = [math.log(each[cases[-1]] / each[cases[0]], factor) for each in (time, space)]
        print(f"grows with the number of {what}: time by the power {powers[0]:.2f}, memory by {powers[1]:.2f}")


if __name__ == "__main__":
    main()
