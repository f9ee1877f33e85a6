"""Bilinear resizing as two matrix products, which has a cheap transpose and can be done for a few channels at a time.

Knows nothing of losses or predictions. Values are those of `torch.nn.functional.interpolate` with `align_corners=False`
up to the order in which two products are added.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

CPU_ELEMENTS = 1 << 19
"""Upsampled values that are processed at once on a CPU, so that they stay in its cache."""
GPU_ELEMENTS = 1 << 26
"""The same on a GPU, where few kernel launches count."""


class Resize:
    """From a grid (h, w) to `size` (H, W), or every `stride`-th row and column of it, and back by the transpose.

    Computes in the dtype and on the device of `like`.
    """

    def __init__(self, grid: tuple[int, int], size: tuple[int, int], like: Tensor, stride: int):
        self.same = tuple(grid) == tuple(size) and stride == 1
        self.rows, self.columns = (_matrix(*ends, like)[::stride] for ends in zip(grid, size, strict=True))
        # Reversed, so that a product sums in the order of `interpolate`, with the same bits.
        self.up_rows, self.up_columns = self.rows.flip(1).contiguous(), self.columns.T.flip(0).contiguous()

    @torch.no_grad()
    def up(self, grid: Tensor, out: Tensor | None) -> Tensor:
        """(..., h, w) -> (..., H, W), contiguous; written into `out`, if given."""
        out = grid.new_empty(*grid.shape[:-2], len(self.rows), len(self.columns)) if out is None else out
        if self.same:
            return out.copy_(grid)
        return torch.matmul(self.up_rows, grid.flip(-2, -1) @ self.up_columns, out=out)

    def down(self, gradient: Tensor) -> Tensor:
        """The transpose, (..., H, W) -> (..., h, w): takes a gradient back to the grid."""
        if self.same:
            return gradient
        return self.rows.T @ gradient @ self.columns


def _matrix(old: int, new: int, like: Tensor) -> Tensor:
    """(new, old): the weights of linear resizing."""
    unit = torch.eye(old, dtype=like.dtype, device=like.device)
    return F.interpolate(unit[None], size=new, mode="linear")[0].T.contiguous()


def planes(count: int, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype) -> Tensor:
    """A buffer for as many of `count` planes of `shape` as are processed at once (`chunks`), on the device of `like`.

    To be reused: on a CPU, fresh memory is mapped page by page, which takes longer than filling it.
    """
    most = next((part.stop for part in chunks(count, math.prod(shape), like.device)), 0)
    return torch.empty((most, *shape), dtype=dtype, device=like.device)


def chunks(planes: int, pixels: int, device: torch.device) -> Iterator[slice]:
    """Slices of `planes` planes of `pixels` values each that are processed at once."""
    most = max(1, (CPU_ELEMENTS if device.type == "cpu" else GPU_ELEMENTS) // pixels)
    for start in range(0, planes, most):
        yield slice(start, min(start + most, planes))
