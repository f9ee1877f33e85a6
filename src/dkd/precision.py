"""In which precision losses and their sums are computed. Knows neither a loss nor a method."""

import torch
from torch import Tensor

WITHOUT_FLOAT64 = ("mps",)
"""Kinds of devices that lack it."""


def full(x: Tensor) -> Tensor:
    """`x` in float32 at least."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def zero(device: torch.device) -> Tensor:
    """A scalar to which a loss is added part by part: float64, or float32 where the device lacks that."""
    dtype = torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64
    return torch.zeros((), dtype=dtype, device=device)


def placed(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, in float32 if it is in float64 and the device lacks that."""
    lacking = tensor.dtype == torch.float64 and device.type in WITHOUT_FLOAT64
    return tensor.to(device, torch.float32 if lacking else tensor.dtype)
