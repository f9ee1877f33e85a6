"""The feature extractor: any timm backbone by name, at a given output stride.

Knows nothing of segmentation.
"""

import logging
import re
import warnings
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from timm.models import load_state_dict
from torch import Tensor, nn

from dkd import files
from dkd.errors import InputError

TRIED = (96, 256), (97, 127)
"""Image sizes that a new backbone is tried with: multiples of every stride, longer than most are made for; and sizes
that are odd after every halving, whether it rounds up or down."""
REFUSALS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors of timm's model families on arguments or images that they do not support."""
OTHERS = "a ResNet or ConvNeXt gives 8, 16 or 32"


def build(name: str, *, pretrained: bool | str, output_stride: int, norm_momentum: float) -> tuple[nn.Module, int, int]:
    """timm's `name` without classifier, in train mode; the channels of its last feature map (1/`output_stride` of the
    input); and what both sides of its images have to be multiples of (1: any size).

    `pretrained`: with timm's weights of that name, or with those in a file (its path). Batch norms get the momentum
    `norm_momentum` (released code: 0.01). Raises InputError if the name is unknown, the backbone does not support that
    stride or images of any size, or its weights can't be loaded.
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
    except (OSError, RuntimeError, SafetensorError) as error:
        if pretrained is not True or isinstance(error, NotImplementedError):
            raise InputError(_stride_refused(name, output_stride, error)) from None
        raise InputError(
            f"model.pretrained: no weights for {name!r}{_reason(error)}; check the name and the network, name a file "
            "of weights, or set it to false"
        ) from None
    except REFUSALS as error:
        raise InputError(_stride_refused(name, output_stride, error)) from None
    (channels,), (stride,) = backbone.feature_info.channels(), backbone.feature_info.reduction()
    if stride != output_stride:
        advice = f"set model.output_stride to {stride} or take another backbone" if stride in (8, 16, 32) else OTHERS
        raise InputError(f"model.backbone: {name!r} gives output stride {stride}, not {output_stride}; {advice}")
    multiple = _tried(name, backbone, channels, stride)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = norm_momentum
    return backbone, channels, multiple


def features(backbone: nn.Module, images: Tensor) -> Tensor:
    """Images (N, 3, H, W) -> the last feature map (N, C, h, w)."""
    (maps,) = backbone(images)
    # Some transformers put channels last.
    return maps.permute(0, 3, 1, 2) if str(getattr(backbone, "output_fmt", "")).endswith("NHWC") else maps


def last_activations(backbone: nn.Module) -> list[nn.Module]:
    """The last activation of each of the four stages of a residual network: what enters it is the stage's output before
    the activation. Raises InputError for other backbones.
    """
    try:
        blocks = [getattr(backbone, f"layer{number}")[-1] for number in range(1, 5)]
        return [block.act3 if hasattr(block, "act3") else block.act2 for block in blocks]
    except (AttributeError, TypeError):
        words = "the method needs the outputs of four residual stages before their activations"
        raise InputError(f"model.backbone: {words}, which this backbone lacks; take a ResNet") from None


def _reason(error: Exception) -> str:
    """The first line of an error's message in brackets, if it has one."""
    words = str(error).strip().splitlines()
    return f" ({words[0]})" if words else ""


def _stride_refused(name: str, output_stride: int, error: Exception) -> str:
    return f"model.backbone: {name!r} can't give output stride {output_stride}{_reason(error)}; {OTHERS}"


def _created(name: str, output_stride: int, **options) -> nn.Module:
    """Create it with the argument that its family knows: convolutions the stride, transformers that sizes vary."""
    words = {"output_stride": output_stride}, {"dynamic_img_size": True}, {"strict_img_size": False}
    for word in words:
        try:
            return timm.create_model(name, **word, **options)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
    return timm.create_model(name, **options)


def _tried(name: str, backbone: nn.Module, channels: int, stride: int) -> int:
    """What sides have to be multiples of, found by trying; InputError if there is no feature grid of that stride."""
    advice = "take a ResNet, ConvNeXt, Swin or ViT"
    backbone.eval()
    try:
        found = _shape(backbone, TRIED[0])
    except REFUSALS as error:
        words = f"does not support images of any size{_reason(error)}"
        raise InputError(f"model.backbone: {name!r} {words}; {advice}") from None
    wanted = (channels, *(side // stride for side in TRIED[0]))
    if found != wanted:
        words = f"gives features of {found} for an image of {TRIED[0]}, not {wanted}"
        raise InputError(f"model.backbone: {name!r} {words}; {advice}")
    try:
        _shape(backbone, TRIED[1])
    except REFUSALS:
        return stride
    finally:
        backbone.train()
    return 1


@torch.no_grad()
def _shape(backbone: nn.Module, sides: tuple[int, int]) -> tuple[int, ...]:
    """(C, h, w) of an image's features; leaves torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        return tuple(features(backbone, torch.zeros(1, 3, *sides)).shape[1:])


def _from_file(name: str, output_stride: int, file: str, options: dict) -> nn.Module:
    """With the weights in `file`; InputError if it can't be read, does not fit or lacks weights.

    timm itself accepts a file that lacks weights silently.
    """
    advice = f"name a file of timm's weights for {name!r}"
    _check(file)
    _check_name(file, name, advice)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = _created(name, output_stride, pretrained=False, **options).state_dict()
        torch.manual_seed(0)
        overlay = {"file": file}
        # Of weights that do not fit, timm logs every name.
        log, level = logging.getLogger("timm"), logging.getLogger("timm").level
        log.setLevel(logging.CRITICAL)
        try:
            backbone = _created(name, output_stride, pretrained=True, pretrained_cfg_overlay=overlay, **options)
        except REFUSALS as error:
            words = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
            raise InputError(f"model.pretrained: {file} does not fit {name!r} ({words}); {advice}") from None
        finally:
            log.setLevel(level)
    loaded = backbone.state_dict()
    left = [key for key, value in fresh.items() if value.ndim > 1 and torch.equal(value, loaded[key])]
    if left:
        raise InputError(
            f"model.pretrained: no weights for {name!r} ({file} has no {left[0]}, and {len(left) - 1} more are "
            f"missing); {advice}"
        )
    return backbone


def _check_name(file: str, name: str, advice: str) -> None:
    """InputError if the file says that its weights are another backbone's.

    Some backbones have weights of the same names and shapes but pad images differently. The architecture stands in the
    metadata of safetensors, or begins the name of the file.
    """
    stem, other = Path(file).stem, ""
    if file.endswith(".safetensors"):
        with safe_open(file, "pt") as content:
            other = (content.metadata() or {}).get("architecture", "")
    begins = [known for known in timm.list_models() if re.match(rf"{re.escape(known)}(?![a-zA-Z0-9])", stem)]
    other = other or max(begins, key=len, default="")
    if other and other != name.split(".")[0]:
        raise InputError(
            f"model.pretrained: {file}: its name or metadata says {other!r}, not {name!r}; {advice}, or rename it"
        )


def _check(file: str) -> None:
    """InputError if `file` can't be read as weights; checked before timm reads it, as some versions execute pickles."""
    try:
        files.check_regular(Path(file))
    except OSError as error:
        words = f"{error.strerror}; name a file of weights, or set it to true or false"
        raise InputError(f"model.pretrained: {file}: {words}") from None
    advice = "name a file that safetensors (.safetensors) or torch has saved"
    try:
        with warnings.catch_warnings(action="ignore"):
            state = load_state_dict(file, weights_only=True)
        tensors = any(isinstance(value, Tensor) for value in state.values())
    except OSError as error:
        raise InputError(f"model.pretrained: {file}: {error.strerror or error}; {advice}") from None
    except Exception:  # A damaged file can make a reader raise anything.
        tensors = False
    if not tensors:
        words = "is damaged, or holds more or other things than tensors by name"
        raise InputError(f"model.pretrained: {file}: {words}; {advice}")
