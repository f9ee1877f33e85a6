"""Batch norms with statistics over all processes; knows nothing of the network around them.

On GPUs these are torch's, which are for GPUs only; elsewhere the same arithmetic on any backend.
"""

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn import functional as F


def synchronise(module: nn.Module, device: torch.device) -> None:
    """Replace every batch norm in `module` by one over all processes, in place; names and parameters stay the same."""
    if device.type == "cuda":
        for name, child in module.named_children():
            setattr(module, name, convert_sync_batchnorm(child))
        return
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SyncedNorm(child))
        else:
            synchronise(child, device)


class _Sum(torch.autograd.Function):
    """Sum over processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


class SyncedNorm(nn.Module):
    """A batch norm (for timm's also its activation) over all processes, which hold equally many images each."""

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name, value in norm.named_buffers():
            self.register_buffer(name, value)
        self.eps, self.momentum = norm.eps, norm.momentum
        self.after = nn.Sequential(*norm.children())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        if not self.training:
            x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
            return self.after(x)
        ranks = torch.distributed.get_world_size()
        mean = _Sum.apply(x.float().mean((0, 2, 3))) / ranks
        centred = x - mean[:, None, None]
        variance = _Sum.apply(centred.square().mean((0, 2, 3))) / ranks
        with torch.no_grad():
            count = ranks * x.numel() // x.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return self.after((centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype))
