"""The sum of a loss over upsampled logits, and its gradient, in one kernel (Triton), for GPUs.

`dkd.losses` says what is computed and is the reference; here the logits at full size exist in registers only. Knows the
binary cross-entropies: with the target 0, with a soft target, and with labels. Needs the package triton, which comes
with torch for GPUs on Linux.

The kernel runs once for every block of pixels between the centres of four neighbouring cells of the grid, since all
of them are upsampled from these four. Blocks at the border have pixels beyond it, which do not count, and others
which take the value of the nearest cells. A block gives its sum of the loss, and what each of the four cells gets of
the gradient; these parts are added afterwards, in an order that does not change.
"""

import logging
import math
from subprocess import SubprocessError

import torch
import triton
from torch import Tensor
from triton import language as tl
from triton.errors import TritonError

from dkd.data.classes import VOID

log = logging.getLogger("dkd")

FACTORS = range(4, 65)
"""Of upsampling, for which the kernel is used: a program has a block of 16 to 4096 pixels."""
NO_LABEL = -1


def fits(logits: Tensor, size: tuple[int, int]) -> bool:
    """Whether the kernel can upsample logits (N, K, h, w) to `size`: by one whole number, in float32."""
    height, width = logits.shape[-2:]
    factor = size[0] // height
    return (
        logits.dtype == torch.float32
        and logits.numel() > 0
        and factor in FACTORS
        and tuple(size) == (factor * height, factor * width)
    )


def works(device: torch.device) -> bool:
    """Whether the kernel runs on a device and gives what it should, in a case whose result is known; logs if not."""
    try:
        total, gradient = total_and_gradient(torch.zeros(1, 1, 1, 1, device=device), (16, 16))
        right = math.isclose(total, 256 * math.log(2), rel_tol=1e-5) and math.isclose(gradient, 128, rel_tol=1e-5)
        reason = "its result is wrong"
    except (TritonError, RuntimeError, OSError, SubprocessError) as error:
        # No C compiler, an old driver, ...: there is another way to the same result.
        right, reason = False, f"{type(error).__name__}: {error}".splitlines()[0]
    if not right:
        log.warning("the kernel of the losses does not work on this GPU (%s); they take longer without it", reason)
    return right


def total_and_gradient(
    logits: Tensor,
    size: tuple[int, int],
    *,
    teacher: Tensor | None = None,
    labels: Tensor | None = None,
    first: int = 0,
    pos_weight: float = 1.0,
    void: str = "negative",
    visible: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum of the binary cross-entropy over pixels and classes of logits (N, K, h, w) upsampled to `size`, which fit.

    The target is the sigmoid of the `teacher`'s logits (N, K, h, w), or follows from the fields of a
    `dkd.losses.Target`, or is 0. Returns a scalar and its gradient (N, K, h, w).
    """
    images, classes, height, width = logits.shape
    factor = size[0] // height
    logits = logits.detach().contiguous()
    parts = logits.new_empty(5, images, classes, height + 1, width + 1)
    side = triton.next_power_of_2(factor)
    with torch.cuda.device_of(logits):
        _kernel[(parts[0].numel(),)](
            logits,
            # Expanded: the kernel checks no shape.
            logits if teacher is None else teacher.detach().to(logits).expand_as(logits).contiguous(),
            logits if labels is None else labels.expand(images, *size).contiguous(),
            logits if visible is None else visible.to(torch.uint8).expand(images, classes).contiguous(),
            parts,
            height,
            width,
            classes,
            first,
            float(pos_weight),
            VOID if void == "ignore" else NO_LABEL,
            factor=factor,
            side=side,
            soft=teacher is not None,
            hard=labels is not None,
            masked=visible is not None,
            num_warps=max(1, side * side // 256),
            enable_fp_fusion=True,
        )
    sums, upper_left, upper_right, lower_left, lower_right = parts
    gradient = upper_left[..., 1:, 1:] + upper_right[..., 1:, :-1]
    gradient += lower_left[..., :-1, 1:] + lower_right[..., :-1, :-1]
    return sums.sum(dtype=torch.float64).to(logits), gradient


@triton.jit(do_not_specialize=["height", "width", "classes", "first", "void"])
def _kernel(
    logits,
    teacher,
    labels,
    visible,
    parts,
    height,
    width,
    classes,
    first,
    pos_weight,
    void,
    factor: tl.constexpr,
    side: tl.constexpr,
    soft: tl.constexpr,
    hard: tl.constexpr,
    masked: tl.constexpr,
):
    """One block of factor x factor pixels; side is the next power of 2. `parts`: (5, N, K, h + 1, w + 1)."""
    block = tl.program_id(0)
    column, row = block % (width + 1), block // (width + 1) % (height + 1)
    plane = block // ((width + 1) * (height + 1))
    grid = plane.to(tl.int64) * height * width
    spot = tl.arange(0, side)
    y = row * factor - (factor + 1) // 2 + spot
    x = column * factor - (factor + 1) // 2 + spot
    counts = ((spot < factor) & (y >= 0) & (y < height * factor))[:, None]
    counts = counts & ((spot < factor) & (x >= 0) & (x < width * factor))[None, :]
    # Shares of the lower cells, and of those to the right. What lies beyond the border has none.
    share = (spot + 0.5 * (1 - factor % 2)) / factor
    down = tl.where(row == 0, 1.0, tl.where(row == height, 0.0, share))[:, None]
    right = tl.where(column == 0, 1.0, tl.where(column == width, 0.0, share))[None, :]
    upper, lower = tl.maximum(row - 1, 0) * width, tl.minimum(row, height - 1) * width
    before, after = tl.maximum(column - 1, 0), tl.minimum(column, width - 1)

    z = _between(logits + grid, upper, lower, before, after, down, right)
    sigmoid, rest = _sigmoid(z)
    loss, slope = tl.maximum(z, 0.0) + rest, sigmoid
    if soft:
        truth, _ = _sigmoid(_between(teacher + grid, upper, lower, before, after, down, right))
        loss -= truth * z
        slope -= truth
    if hard:
        image = labels + (plane // classes).to(tl.int64) * (height * factor * width * factor)
        label = tl.load(image + y[:, None] * (width * factor) + x[None, :], mask=counts, other=0).to(tl.int32)
        own = label == first + plane % classes
        loss = tl.where(own, pos_weight * (tl.maximum(-z, 0.0) + rest), loss)
        slope = tl.where(own, pos_weight * (sigmoid - 1), slope)
        counts = counts & (label != void)
        if masked:
            counts = counts & (tl.load(visible + plane) != 0)

    slope = tl.where(counts, slope, 0.0)
    above, below = slope * (1 - down), slope * down
    all = tl.num_programs(0).to(tl.int64)
    parts += block
    tl.store(parts, tl.sum(tl.where(counts, loss, 0.0)))
    tl.store(parts + all, tl.sum(above * (1 - right)))
    tl.store(parts + 2 * all, tl.sum(above * right))
    tl.store(parts + 3 * all, tl.sum(below * (1 - right)))
    tl.store(parts + 4 * all, tl.sum(below * right))


@triton.jit
def _between(grid, upper, lower, before, after, down, right):
    """Bilinear interpolation between four cells."""
    left_top, left_bottom = tl.load(grid + upper + before), tl.load(grid + lower + before)
    right_top, right_bottom = tl.load(grid + upper + after), tl.load(grid + lower + after)
    left = left_top + (left_bottom - left_top) * down
    return left + (right_top + (right_bottom - right_top) * down - left) * right


@triton.jit
def _sigmoid(z):
    """The sigmoid, and log(1 + exp(-|z|))."""
    small = tl.exp(-tl.abs(z))
    return tl.where(z >= 0, 1.0, small) / (1 + small), tl.log(1 + small)
