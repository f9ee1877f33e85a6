"""Optimizer and learning rate schedule of a step, as released: SGD, linear warm-up if any, polynomial decay."""

import torch
from torch import nn

from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from dkd.training.recipe import Recipe

WARMUP_START = 0.001
"""Factor of the learning rate at the first iteration of a warm-up."""


def build_optimizer(
    model: Segmenter, recipe: Recipe, iterations: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD and its schedule over `iterations`; parameters that are not trained lose their `requires_grad`.

    Backbone at `lr`, decoder and classifiers at `head_lr` times that. Base (one classifier): weight decay on
    everything. Later: batch norms frozen, weight decay on the new classifier alone, unless the recipe has `rates` of
    its own, or trains norms. The classifier of what is unknown learns as a new one, that of background as an old one.
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
    later = len(model.heads) > 1
    rates = {"backbone": 1.0, **dict.fromkeys(("decoder", "old", "new"), recipe.head_lr)}
    decays = dict.fromkeys(rates, recipe.weight_decay)
    if later and recipe.rates:
        rates |= recipe.rates
    elif later:
        decays |= dict.fromkeys(("backbone", "decoder", "old"), 0.0)
    *old, new = model.heads
    parts = {
        "backbone": [model.backbone],
        "decoder": [model.aspp, model.last_conv],
        "old": [model.auxiliary, *old, *([model.background] if model.background else [])],
        "new": [new, *([model.unknown] if model.unknown else [])],
    }
    if not later:
        parts["new"] = [*parts.pop("old"), *parts["new"]]
    still = [module for part, modules in parts.items() if not rates[part] for module in modules]
    if model.spec.get("frozen"):
        still.append(model.backbone)
    if later and not recipe.train_norms:
        still += [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    frozen = {parameter for module in still for parameter in module.parameters()}
    for parameter in frozen:
        parameter.requires_grad_(False)
    groups = []
    for part in filter(rates.get, parts):
        parameters = [p for module in parts[part] for p in module.parameters() if p not in frozen]
        groups.append({"params": parameters, "lr": recipe.lr * rates[part], "weight_decay": decays[part]})
    if not groups:
        raise InputError("methods: lr_backbone, lr_decoder, lr_old and lr_new are all 0; let a part learn")
    return groups
