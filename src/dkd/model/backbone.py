"""The feature extractor: any timm backbone by name, at the output stride asked for.

Knows nothing of segmentation.
"""

import timm
import torch
from torch import nn

from dkd.errors import InputError


def build(name: str, *, pretrained: bool | str, output_stride: int, norm_momentum: float) -> tuple[nn.Module, int]:
    """timm's `name` without classifier, and the channels of its last feature map (1/`output_stride` of the input).

    `pretrained`: with timm's weights of that name, or with those in a file (its path).

    Its batch norms get momentum `norm_momentum` (released code: 0.01). Raises InputError where the name is unknown, the
    backbone can't give that stride, or its weights can't be fetched.
    """
    if not timm.is_model(name.split(".")[0]):
        near = timm.list_models(f"*{name.split('.')[0]}*")[:3]
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() shows all names"
        raise InputError(f"model.backbone: timm knows no backbone {name!r}; {hint}")
    options = {"features_only": True, "out_indices": (-1,)}
    try:
        if isinstance(pretrained, str):
            backbone = _from_file(name, output_stride, pretrained, options)
        else:
            backbone = _created(name, output_stride, pretrained=pretrained, **options)
    except (TypeError, NotImplementedError, AssertionError, ValueError, AttributeError) as error:
        raise InputError(f"model.backbone: {name!r} can't give output stride {output_stride} ({error})") from None
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model.pretrained: no weights for {name!r} ({reason}); check the name and the network, name a file "
            "of weights, or set it to false"
        ) from None
    (channels,), (stride,) = backbone.feature_info.channels(), backbone.feature_info.reduction()
    if stride != output_stride:
        raise InputError(f"model.backbone: {name!r} gives output stride {stride}, not {output_stride}")
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = norm_momentum
    return backbone, channels


def _created(name: str, output_stride: int, **options) -> nn.Module:
    """What families of backbones want to hear: convolutions their stride, transformers that pictures have any size."""
    words = {"output_stride": output_stride}, {"dynamic_img_size": True}, {"strict_img_size": False}
    for word in words:
        try:
            return timm.create_model(name, **word, **options)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
    return timm.create_model(name, **options)


def _from_file(name: str, output_stride: int, file: str, options: dict) -> nn.Module:
    """With the weights in `file`; RuntimeError where it leaves any out, which timm takes without a word."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = _created(name, output_stride, pretrained=False, **options).state_dict()
        torch.manual_seed(0)
        overlay = {"file": file}
        backbone = _created(name, output_stride, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    loaded = backbone.state_dict()
    left = [key for key, value in fresh.items() if value.ndim > 1 and torch.equal(value, loaded[key])]
    if left:
        raise RuntimeError(f"{file} has no {left[0]}, and {len(left) - 1} more are missing")
    return backbone
