"""Bilinear resizing of columns, then of rows, which has a cheap transpose and can be done for a few channels at a time.

Columns are a matrix product. So are rows, unless the new height is a multiple of the old one: then each new row is one
old row plus a share of the difference to its neighbour. Knows nothing of losses or predictions. Values are those of
`torch.nn.functional.interpolate` with `align_corners=False` up to rounding.
"""

import functools
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
        kind = like.dtype, like.device
        self.rows, self.columns = (_matrix(*ends, *kind)[::stride] for ends in zip(grid, size, strict=True))
        # Reversed, so that a product sums in the order of `interpolate`, with the same bits.
        self.up_rows, self.up_columns = self.rows.flip(1).contiguous(), self.columns.T.flip(0).contiguous()
        self.factor = size[0] // grid[0] if stride == 1 and size[0] % grid[0] == 0 else None
        if self.factor:
            self.shares, self.parts = _shares(self.factor, *kind)

    @torch.no_grad()
    def up(self, grid: Tensor, out: Tensor | None) -> Tensor:
        """(..., h, w) -> (..., H, W), contiguous; written into `out`, if given."""
        out = grid.new_empty(*grid.shape[:-2], len(self.rows), len(self.columns)) if out is None else out
        if self.same:
            return out.copy_(grid)
        if not self.factor:
            return torch.matmul(self.up_rows, grid.flip(-2, -1) @ self.up_columns, out=out)
        wide = grid.flip(-1) @ self.up_columns
        # New rows between the centres of two old ones; those outside are copies of the first and the last one.
        between = slice(self.factor // 2, self.factor // 2 + (wide.shape[-2] - 1) * self.factor)
        if wide.shape[-2] > 1:
            inside = out[..., between, :].unflatten(-2, (-1, self.factor))
            torch.addcmul(wide[..., :-1, None, :], wide.diff(dim=-2)[..., None, :], self.shares, out=inside)
        out[..., : between.start, :] = wide[..., :1, :]
        out[..., between.stop :, :] = wide[..., -1:, :]
        return out

    def down(self, gradient: Tensor) -> Tensor:
        """The transpose, (..., H, W) -> (..., h, w): takes a gradient back to the grid."""
        if self.same:
            return gradient
        if not self.factor:
            return self.rows.T @ gradient @ self.columns
        # What the new rows around each old one give to the one above, to itself, and to the one below.
        above, rows, below = (self.parts @ gradient.unflatten(-2, (-1, self.factor))).unbind(-2)
        rows[..., :-1, :] += above[..., 1:, :]
        rows[..., 1:, :] += below[..., :-1, :]
        rows[..., :1, :] += above[..., :1, :]
        rows[..., -1:, :] += below[..., -1:, :]
        return rows @ self.columns


@functools.lru_cache(maxsize=64)
def _matrix(old: int, new: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(new, old): the weights of linear resizing."""
    unit = torch.eye(old, dtype=dtype, device=device)
    return F.interpolate(unit[None], size=new, mode="linear")[0].T.contiguous()


@functools.lru_cache(maxsize=64)
def _shares(factor: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """(factor, 1): how far the new rows between the centres of two old ones are from the first; (3, factor): what new
    rows around the centre of an old one have of the old row above, of itself, and of the row below.
    """
    place = torch.arange(factor, dtype=dtype, device=device)
    off = (place - (factor - 1) / 2) / factor
    parts = torch.stack([(-off).clamp(min=0), 1 - off.abs(), off.clamp(min=0)])
    return ((place + (0 if factor % 2 else 0.5)) / factor)[:, None], parts


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
