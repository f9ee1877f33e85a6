"""What training and evaluation see."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from dkd.data import transforms

OPTIONS = {"crop": 24, "scale": (0.5, 1.0), "ratio": (0.75, 1.33), "flip": 0.5}

AS_STORED = np.arange(256, dtype=np.uint8)


def sample(height=40, width=50):
    """An image whose pixel values tell their position, and a mask with the same information."""
    mask = np.add.outer(np.arange(height) // 8, np.arange(width) // 10 * 6).astype(np.uint8)
    return np.stack([mask * 6] * 3, axis=2), mask


def test_the_seed_is_all_that_matters():
    image, mask = sample()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = transforms.train_sample(image, mask, AS_STORED, seed=1, **OPTIONS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again, other = (transforms.train_sample(image, mask, AS_STORED, seed=seed, **OPTIONS) for seed in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_image_and_mask_stay_together():
    image, mask = sample()
    for seed in range(30):
        pixels, labels = transforms.train_sample(image, mask, AS_STORED, seed=seed, **OPTIONS)
        shown = pixels[0] / 6
        assert (shown - labels).abs().median() < 0.1 < (shown - labels.flip(1)).abs().median()
        assert labels.dtype == torch.uint8 and set(labels.unique().tolist()) <= set(np.unique(mask).tolist())


def test_masks_are_resized_as_pillow_does():
    image, mask = sample()
    _, labels = transforms.train_sample(
        image, mask, AS_STORED, seed=0, crop=24, scale=(9, 9), ratio=(1.25, 1.25), flip=0
    )
    # A share of 9 never fits: the fallback takes the whole image, whose aspect is 1.25.
    expected = np.array(Image.fromarray(mask).resize((24, 24), Image.Resampling.NEAREST))
    assert np.array_equal(labels.numpy(), expected)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32), st.integers(1, 120))
def test_a_sample_is_torchvisions(height, width, seed, crop):
    random = np.random.RandomState(seed % 1000)
    image = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
    mask, table = random.randint(0, 256, (height, width)).astype(np.uint8), random.permutation(256).astype(np.uint8)
    pixels, labels = transforms.train_sample(image, mask, table, seed=seed, **OPTIONS | {"crop": crop})

    torch.manual_seed(seed)
    whole = tv_tensors.Image(image.transpose(2, 0, 1))
    crops = v2.RandomResizedCrop(crop, OPTIONS["scale"], OPTIONS["ratio"])
    box = crops.make_params([whole])
    view = crops.transform(whole, box)
    ids = F.resized_crop(
        torch.from_numpy(table[mask])[None], *box.values(), [crop, crop], InterpolationMode.NEAREST_EXACT
    )
    if torch.rand(()) < OPTIONS["flip"]:
        view, ids = F.horizontal_flip(view), F.horizontal_flip(ids)
    assert torch.equal(pixels, view)
    # A pixel whose centre lies on the border of two: there, rounding decides which of them it shows.
    rows, columns = (
        torch.tensor([(2 * i + 1) * box[side] % (2 * crop) == 0 for i in range(crop)]) for side in ("height", "width")
    )
    assert torch.all((labels == ids[0]) | rows[:, None] | columns)


def test_centre_view_is_the_central_square():
    image, mask = sample(40, 60)
    view, labels = transforms.centre_view(image, mask, 20)
    assert view.shape == (3, 20, 20) and labels.shape == (20, 20)
    expected = np.array(Image.fromarray(mask).resize((30, 20), Image.Resampling.NEAREST))[:, 5:25]
    assert np.array_equal(labels, expected)
    whole, same = transforms.centre_view(*sample(20, 20), 20)
    assert np.array_equal(whole.permute(1, 2, 0), sample(20, 20)[0]) and np.array_equal(same, sample(20, 20)[1])
