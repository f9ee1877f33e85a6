"""A scalar whose gradient is computed together with it: nothing but the gradient is kept for the backward pass.

Knows neither a loss nor a method.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Form = Callable[[Tensor, bool], tuple[Tensor, Tensor | None]]
"""A tensor, and whether its gradient is wanted -> a scalar, and its gradient in the tensor or None."""


class _Together(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, form: Form) -> Tensor:
        value, gradient = form(x, ctx.needs_input_grad[0])
        ctx.dtype = x.dtype
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, factor: Tensor):
        (gradient,) = ctx.saved_tensors
        return (factor * gradient).to(ctx.dtype), None


def scalar(x: Tensor, form: Form) -> Tensor:
    """What `form` gives for `x`, with its gradient; nothing that `form` does is recorded."""
    return _Together.apply(x, form)
