"""Optimizer and learning rate schedule of a step, as released: SGD, linear warm-up if any, polynomial decay."""

import torch
from torch import nn

from dkd.model.segmenter import Segmenter
from dkd.training.recipe import Recipe

WARMUP_START = 0.001
"""Factor of the learning rate at the first iteration of a warm-up."""


def build_optimizer(
    model: Segmenter, recipe: Recipe, iterations: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD and its schedule over `iterations`; parameters that are not trained lose their `requires_grad`.

    Backbone at `lr`, decoder and classifiers at `head_lr` times that. Base (one classifier): weight decay on
    everything. Later: batch norms frozen, weight decay on the new classifier alone, unless the recipe has a
    `lr_factor` for everything, or trains norms.
    """
    optimizer = torch.optim.SGD(
        _parameter_groups(model, recipe), momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
    )
    if recipe.momentum:
        # If the very first step is skipped (fp16 overflow), torch's fused SGD leaves its buffers unset.
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    rising = min(round(recipe.warmup * iterations), iterations - 1)

    def factor(i: int) -> float:
        if i < rising:
            return WARMUP_START + (1 - WARMUP_START) * i / rising
        return max(0.0, 1 - (i - rising) / (iterations - rising)) ** recipe.power

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _parameter_groups(model: Segmenter, recipe: Recipe) -> list[dict]:
    incremental = len(model.heads) > 1
    frozen = set(model.backbone.parameters()) if model.spec.get("frozen") else set()
    if incremental and not recipe.train_norms:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                frozen |= set(module.parameters())
    for parameter in frozen:
        parameter.requires_grad_(False)

    def group(modules: list[nn.Module], factor: float, decay: float) -> dict:
        parameters = [p for module in modules for p in module.parameters() if p not in frozen]
        return {"params": parameters, "lr": recipe.lr * factor, "weight_decay": decay}

    if incremental and recipe.lr_factor is not None:
        return [group([model], recipe.lr_factor, recipe.weight_decay)]
    decay = 0.0 if incremental else recipe.weight_decay
    *old, new = model.heads
    groups = [group([model.backbone], 1.0, decay), group([model.aspp, model.last_conv], recipe.head_lr, decay)]
    if incremental:
        groups.append(group([model.auxiliary, *old], recipe.head_lr, decay))
        groups.append(group([new], recipe.head_lr, recipe.weight_decay))
    else:
        groups.append(group([model.auxiliary, new], recipe.head_lr, decay))
    return groups
