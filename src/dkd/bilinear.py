"""Bilinear resizing as two matrix products, so that it has a cheap transpose and works on any share of the channels.

Knows nothing of losses or decisions. Values are those of `torch.nn.functional.interpolate` with `align_corners=False`
up to the order in which two products are added.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

CPU_ELEMENTS = 1 << 19
"""Values at full size that are worked on at once: a few planes stay in a CPU's cache."""
GPU_ELEMENTS = 1 << 26
"""On a GPU, where it is the launches that should be few."""


class Resize:
    """From a grid (h, w) to `size` (H, W), or each `stride`-th row and column of it, and back by the transpose."""

    def __init__(self, grid: tuple[int, int], size: tuple[int, int], like: Tensor, stride: int = 1):
        self.same = tuple(grid) == tuple(size) and stride == 1
        self.rows, self.columns = (_matrix(*ends, like)[::stride] for ends in zip(grid, size, strict=True))
        # Reversed, so that a product adds up in the order in which `interpolate` does, to the bit.
        self.up_rows, self.up_columns = self.rows.flip(1).contiguous(), self.columns.T.flip(0).contiguous()

    @torch.no_grad()
    def up(self, grid: Tensor, out: Tensor | None = None) -> Tensor:
        """(..., h, w) -> (..., H, W), contiguous; in the memory of `out`, if given."""
        out = grid.new_empty(*grid.shape[:-2], len(self.rows), len(self.columns)) if out is None else out
        if self.same:
            return out.copy_(grid)
        return torch.matmul(self.up_rows, grid.flip(-2, -1) @ self.up_columns, out=out)

    def down(self, gradient: Tensor) -> Tensor:
        """The transpose, (..., H, W) -> (..., h, w): what a gradient at full size is on the grid."""
        if self.same:
            return gradient
        return self.rows.T @ gradient @ self.columns


def _matrix(old: int, new: int, like: Tensor) -> Tensor:
    """(new, old): the weights of linear resizing."""
    unit = torch.eye(old, dtype=like.dtype, device=like.device)
    return F.interpolate(unit[None], size=new, mode="linear")[0].T.contiguous()


def planes(count: int, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for as many of `count` planes of `shape` as are worked on at once (`chunks`), to be used again and again.

    On a CPU, memory that is asked for anew comes from the system page by page, which takes longer than to fill it.
    """
    most = next((part.stop for part in chunks(count, math.prod(shape), like.device)), 0)
    return torch.empty((most, *shape), dtype=dtype or like.dtype, device=like.device)


def chunks(planes: int, pixels: int, device: torch.device) -> Iterator[slice]:
    """`planes` of `pixels` values each, cut so that few full-size values exist at a time."""
    most = max(1, (CPU_ELEMENTS if device.type == "cpu" else GPU_ELEMENTS) // pixels)
    for start in range(0, planes, most):
        yield slice(start, min(start + most, planes))
