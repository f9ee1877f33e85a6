"""Loss terms and their gradient from the grid of 1/16: ours against the textbook form, and how ours grows."""

import torch
from torch.nn import functional as F

from benchmarks import measure
from dkd.losses import Target
from dkd.methods import dkd
from dkd.model.segmenter import Output
from tests import plain

WEIGHTS = {"kd": 5.0, "dkd": 5.0, "ac": 1.0}
WIDTH = 256


def inputs(old: int, new: int, batch: int, size: int, dtype: torch.dtype):
    """Answers of student and teacher, and labels in squares: background, every new class and void."""
    torch.manual_seed(0)
    device, grid = measure.DEVICE, size // 16

    def answer(sizes: tuple[int, ...]) -> Output:
        logits = [F.interpolate(torch.randn(batch, k, grid // 4, grid // 4), size=(grid, grid)) * 3 - 2 for k in sizes]
        leaves = [torch.rand(batch, WIDTH, grid, grid), *logits, torch.randn(batch, 1, grid, grid)]
        leaves += [torch.randn(k, WIDTH) / 16 for k in sizes]
        features, *rest = (leaf.to(device, dtype).requires_grad_() for leaf in leaves)
        steps = len(sizes)
        return Output(features, tuple(rest[:steps]), rest[steps], tuple(rest[steps + 1 :]), (size, size))

    student, teacher = answer((old, new)), answer((old,))
    labels = (
        torch.randint(0, new + 2, (batch, 16, 16)).repeat_interleave(size // 16, 1).repeat_interleave(size // 16, 2)
    )
    labels = torch.where(labels == new + 1, 255, torch.where(labels > 0, labels + old, 0)).to(torch.uint8).to(device)
    detached = Output(
        *(x.detach() if torch.is_tensor(x) else tuple(y.detach() for y in x) for x in teacher[:4]), student.size
    )
    return student, detached, Target(labels, old + 1, 1.0)


def build(old: int, new: int, batch: int, size: int, dtype=torch.float32) -> measure.Variants:
    student, teacher, target = inputs(old, new, batch, size, dtype)
    leaves = [student.features, *student.logits, student.auxiliary, *student.weights]

    def run(form):
        total, _ = form(student, teacher, target, **WEIGHTS)
        return total.detach(), torch.autograd.grad(total, leaves, allow_unused=True)

    return {"plain": lambda: run(plain.dkd), "dkd": lambda: run(dkd.loss)}


def off(variants: measure.Variants, exact: measure.Variants, name: str) -> float:
    """Largest difference of loss or gradient to the plain form in double precision, relative to the largest value."""
    (total, ours), (expected, theirs) = variants[name](), exact["plain"]()
    pairs = [(total, expected), *((a, b) for a, b in zip(ours, theirs, strict=True) if b is not None)]
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def main() -> None:
    measure.start()
    gpu = measure.DEVICE.type == "cuda"
    rows = []
    for old, new in ((100, 50), (15, 5)):
        for batch in (8, 24) if gpu else (2,):
            case = (old, new, batch, 512)
            variants = build(*case)
            exact = build(*case, torch.float64)
            apart = {name: off(variants, exact, name) for name in variants}
            time = measure.seconds(variants, 9)
            space = {name: measure.peak(build, name, *case) for name in variants}
            for name in variants:
                shown = (f"{old + new} classes, batch {batch}, {name}", time[name] * 1e3, space[name])
                rows.append((*shown, time["plain"] / time[name], space["plain"] / space[name], apart[name]))
    measure.table(("512 x 512", "ms", "peak MB", "times faster", "times less", "off by"), rows)

    rows = []
    for old, new, batch, size in (
        *((k - 5, 5, 2, 512) for k in (20, 50, 100, 150)),
        *((95, 5, 2, side) for side in (128, 256, 384)),
        *((95, 5, n, 256) for n in (1, 4, 8)),
    ):
        case = (old, new, batch, size)
        time = measure.seconds({"dkd": build(*case)["dkd"]}, 5)["dkd"]
        values = (old + new) * batch * size * size
        rows.append((f"{old + new} classes, batch {batch}, {size} x {size}", time * 1e3, time / values * 1e9))
        rows[-1] += (measure.peak(build, "dkd", *case),)
    measure.table(("growth", "ms", "ns per value", "peak MB"), rows)
    if gpu:
        a = torch.empty(2**28, device="cuda")
        b = torch.empty_like(a)
        taken = measure.seconds({"copy": lambda: b.copy_(a)}, 9)["copy"]
        print(f"copy bandwidth: {2 * a.numel() * 4 / taken / 1e9:.0f} GB/s")


if __name__ == "__main__":
    main()
