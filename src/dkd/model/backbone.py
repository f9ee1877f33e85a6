"""The feature extractor: any timm backbone by name, at the output stride asked for.

Knows nothing of segmentation.
"""

import timm
from torch import nn

from dkd.errors import InputError


def build(name: str, *, pretrained: bool, output_stride: int, norm_momentum: float) -> tuple[nn.Module, int]:
    """timm's `name` without classifier, and the channels of its last feature map (1/`output_stride` of the input).

    Its batch norms get momentum `norm_momentum` (released code: 0.01). Raises InputError where the name is unknown, the
    backbone can't give that stride, or its weights can't be fetched.
    """
    if not timm.is_model(name.split(".")[0]):
        near = timm.list_models(f"*{name.split('.')[0]}*")[:3]
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() shows all names"
        raise InputError(f"model.backbone: timm knows no backbone {name!r}; {hint}")
    try:
        backbone = timm.create_model(
            name, pretrained=pretrained, features_only=True, out_indices=(-1,), output_stride=output_stride
        )
    except (TypeError, NotImplementedError, AssertionError, ValueError, AttributeError) as error:
        raise InputError(f"model.backbone: {name!r} can't give output stride {output_stride} ({error})") from None
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model.pretrained: no weights for {name!r} ({reason}); check the name and the network, or set it to false"
        ) from None
    (channels,), (stride,) = backbone.feature_info.channels(), backbone.feature_info.reduction()
    if stride != output_stride:
        raise InputError(f"model.backbone: {name!r} gives output stride {stride}, not {output_stride}")
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = norm_momentum
    return backbone, channels
