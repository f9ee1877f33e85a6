"""From a decoded picture and its labels to what the network is trained on or judged by.

Knows nothing of files, steps or batches. Randomness is a matter of the seed that is handed in, for each picture anew.
"""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(image: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 -> float32 with the mean and deviation of ImageNet taken out."""
    return F.normalize(F.to_dtype(image, torch.float32, scale=True), MEAN, STD)


def train_sample(
    image: np.ndarray, labels: np.ndarray, *, seed: int, crop: int, scale: tuple, ratio: tuple, flip: float
) -> tuple[Tensor, Tensor]:
    """Random resized crop and horizontal flip of one picture.

    image (H, W, 3) uint8, labels (H, W) uint8 -> (3, crop, crop) uint8, (crop, crop) uint8. `scale` is the
    share of the picture's area, `ratio` its aspect; ten tries and a central fallback, as torchvision does. Shares above
    1 can only be met by the tries that fit (the released recipe draws from 0.5..2.0).
    """
    image = channels_first(image)
    # torchvision draws from the global generator; a forked state keeps the draw explicit and leaves no trace.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        box = v2.RandomResizedCrop(crop, scale=scale, ratio=ratio).make_params([image])
        mirrored = bool(torch.rand(()) < flip)
    box = [box[key] for key in ("top", "left", "height", "width")]
    image = F.resized_crop(image, *box, [crop, crop], InterpolationMode.BILINEAR, antialias=True)
    mask = torch.from_numpy(labels)[None]
    mask = F.resized_crop(mask, *box, [crop, crop], InterpolationMode.NEAREST_EXACT)
    if mirrored:
        image, mask = F.horizontal_flip(image), F.horizontal_flip(mask)
    return image, mask[0]


def channels_first(image: np.ndarray) -> Tensor:
    """(H, W, 3) -> (3, H, W), the same memory: resizing is fastest with the channels innermost."""
    return torch.from_numpy(image).permute(2, 0, 1)


def centre_view(image: np.ndarray, labels: np.ndarray, crop: int) -> tuple[Tensor, np.ndarray]:
    """The released evaluation: shorter side to `crop`, central `crop` x `crop`, labels too (nearest).

    image (H, W, 3) uint8, labels (H, W) uint8 -> (3, crop, crop) uint8, (crop, crop) uint8.
    """
    image = F.resize(channels_first(image), [crop], InterpolationMode.BILINEAR, antialias=True)
    mask = F.resize(torch.from_numpy(labels)[None], [crop], InterpolationMode.NEAREST_EXACT)
    return F.center_crop(image, [crop, crop]), F.center_crop(mask, [crop, crop])[0].numpy()
