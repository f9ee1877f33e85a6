"""Logits at full size, all classes of a band of rows at a time.

A softmax looks at all classes of a pixel, so the cut is along rows and images, where `dkd.losses` cuts along classes.
Knows nothing of losses: a term says what a value costs and what its slope is, pixel by pixel.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dkd import bilinear, together
from dkd.precision import full, zero

Part = tuple[slice, slice]
"""Some images and some rows of them: `labels[part]` of labels (N, H, W)."""

Pointwise = Callable[[Tensor, Part], tuple[Tensor, Tensor]]
"""Logits at full size (n, C, R, W) of a part -> loss of each pixel (n, R, W) and its slope (n, C, R, W).

The logits may be overwritten.
"""


class Upsampled:
    """Logits (N, C, h, w) upsampled bilinearly to `size` (H, W), float32 at least, without gradient.

    `self[part]` is (n, C, R, W), in memory of its own.
    """

    def __init__(self, grid: Tensor, size: tuple[int, int]):
        self.grid, self.size = full(grid.detach()), tuple(size)
        self.resize = bilinear.Resize(self.grid.shape[-2:], self.size, self.grid, stride=1)
        self._images, self._wide = None, None

    def parts(self) -> Iterator[Part]:
        """Cut so that few full-size values exist at a time."""
        (images, channels), (height, width) = self.grid.shape[:2], self.size
        for some in bilinear.chunks(images, channels * height * width, self.grid.device):
            for rows in bilinear.chunks(height, (some.stop - some.start) * channels * width, self.grid.device):
                yield some, rows

    @torch.no_grad()
    def __getitem__(self, part: Part) -> Tensor:
        images, rows = part
        if self.resize.same:
            return self.grid[images, :, rows].clone()
        with torch.autocast(self.grid.device.type, enabled=False):
            if images != self._images:
                self._images, self._wide = images, self.grid[images].flip(-2, -1) @ self.resize.up_columns
            return self.resize.up_rows[rows] @ self._wide

    def down(self, slope: Tensor, part: Part, out: Tensor) -> None:
        """Add what a gradient (n, C, R, W) of a part is on the grid to `out` (N, C, h, w)."""
        images, rows = part
        if self.resize.same:
            out[images, :, rows] += slope
            return
        with torch.autocast(self.grid.device.type, enabled=False):
            out[images] += self.resize.rows[rows].T @ (slope @ self.resize.columns)


def total(logits: Tensor, size: tuple[int, int], pointwise: Pointwise) -> Tensor:
    """Sum of a loss over all pixels of `logits` (N, C, h, w), upsampled to `size`; scalar, float32 at least.

    The gradient is formed on the way; what is kept for it is as large as the logits on their grid.
    """

    def walk(logits: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        upsampled = Upsampled(logits, size)
        gradient = torch.zeros_like(upsampled.grid) if wanted else None
        found = zero(logits.device)
        for part in upsampled.parts():
            loss, slope = pointwise(upsampled[part], part)
            found += loss.sum()
            if gradient is not None:
                upsampled.down(slope, part, gradient)
        return found.to(upsampled.grid), gradient

    return together.scalar(full(logits), walk)
