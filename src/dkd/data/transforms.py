"""From a decoded image and its mask to what the network is trained or evaluated on.

Knows nothing of files, steps or batches. Random choices follow from a seed per image.
"""

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(image: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 -> float32, standardised by the mean and standard deviation of ImageNet."""
    return F.normalize(F.to_dtype(image, torch.float32, scale=True), MEAN, STD, inplace=True)


def train_sample(
    image: np.ndarray,
    mask: np.ndarray,
    table: np.ndarray,
    *,
    seed: int,
    crop: int,
    scale: tuple,
    ratio: tuple,
    flip: float,
) -> tuple[Tensor, Tensor]:
    """Random resized crop and horizontal flip of one image and its mask.

    image (H, W, 3) uint8, mask (H, W) uint8 of stored values, table (256,) uint8 from stored values to ids
    -> (3, crop, crop) uint8, ids (crop, crop) uint8. `scale` is the share of the image's area, `ratio` the aspect ratio
    of the crop; ten tries and a central fallback, as in torchvision. Of shares above 1, only tries that fit the image
    are used (the released recipe draws from 0.5..2.0).
    """
    image = channels_first(image)
    # torchvision draws from the global generator: its state is restored afterwards, so that nothing else changes.
    # (`torch.manual_seed` would seed the generators of GPUs, too.)
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        box = v2.RandomResizedCrop(crop, scale=scale, ratio=ratio).make_params([image])
        mirrored = bool(torch.rand(()) < flip)
    finally:
        generator.set_state(state)
    top, left, height, width = (box[key] for key in ("top", "left", "height", "width"))
    image = F.resized_crop(image, top, left, height, width, [crop, crop], InterpolationMode.BILINEAR, antialias=True)
    rows, columns = nearest(height, crop), nearest(width, crop)
    if mirrored:
        image, columns = F.horizontal_flip(image), columns[::-1]
    # Columns first: after that, rows are copied as a whole.
    ids = table.take(mask[top : top + height, left : left + width]).take(columns, axis=1).take(rows, axis=0)
    return image, torch.from_numpy(ids)


@functools.lru_cache(maxsize=1024)
def nearest(length: int, size: int) -> np.ndarray:
    """Source index (size,) int64 of each pixel when a row of `length` pixels is resized to `size` (nearest-exact)."""
    pixels = torch.arange(length, dtype=torch.float32)[None, None]
    return nn.functional.interpolate(pixels, size=size, mode="nearest-exact")[0, 0].long().numpy()


def channels_first(image: np.ndarray) -> Tensor:
    """(H, W, 3) -> (3, H, W) as a view: resizing is fastest with the channels innermost."""
    return torch.from_numpy(image).permute(2, 0, 1)


def centre_view(image: np.ndarray, mask: np.ndarray, crop: int) -> tuple[Tensor, np.ndarray]:
    """View of the released evaluation: shorter side resized to `crop`, central crop; the mask likewise (nearest).

    image (H, W, 3) uint8, mask (H, W) uint8 -> (3, crop, crop) uint8, (crop, crop) uint8.
    """
    image = F.resize(channels_first(image), [crop], InterpolationMode.BILINEAR, antialias=True)
    values = F.resize(torch.from_numpy(mask)[None], [crop], InterpolationMode.NEAREST_EXACT)
    return F.center_crop(image, [crop, crop]), F.center_crop(values, [crop, crop])[0].numpy()
