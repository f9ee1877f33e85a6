"""What the benchmarks compare, at small size: both sides do the same."""

import numpy as np
import pytest
import torch

from benchmarks import evaluate, loader, losses, measure, train_step


@pytest.mark.parametrize("case", [(4, 2, 2, 64), (995, 5, 1, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_are_those_of_the_plain_form(case, dtype):
    variants, exact = losses.build(*case, dtype), losses.build(*case, dtype, torch.float64)
    limit = 2e-5 if dtype == torch.float32 else 1e-2
    assert all(losses.off(variants, exact, name) < limit for name in variants)


def test_bytes_that_a_loss_must_move():
    """Features, 6 + 1 logits and 6 weights of the student twice; features, 4 logits and weights; labels."""
    pixels = 2 * 32 * 32
    student = losses.WIDTH * pixels + 7 * pixels + 6 * losses.WIDTH
    teacher = losses.WIDTH * pixels + 4 * pixels + 4 * losses.WIDTH
    assert losses.moved(4, 2, 2, torch.float32) == 4 * (2 * student + teacher) + 2 * 512 * 512


def test_samples_are_the_same_by_each_way(tmp_path):
    rows = loader.draw(tmp_path)[:2]
    ways = loader.build(tmp_path, rows)
    for i in range(2):
        (image, labels), *others = (way(i) for way in ways.values())
        for pixels, ids in others:
            assert (pixels - image).abs().max() < 0.02 and torch.equal(ids, labels.to(torch.uint8))


@pytest.mark.parametrize("shown", [2, 5])
def test_counts_are_those_of_the_plain_decision(shown):
    variants = evaluate.build(5, shown)
    assert np.array_equal(variants["plain"](), variants["dkd"]())


def test_peak_memory_is_that_of_one_variant():
    assert 3 < measure.peak(half_and_whole, "half", 8) < 7


def half_and_whole(size: int) -> measure.Variants:
    """What takes `size` MB, and half of that."""
    return {name: lambda n=n: torch.ones(n << 18) for name, n in {"whole": size, "half": size // 2}.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [(False, False), (True, False, True), (True, True, True)])
def test_a_step_runs_in_each_kind(kind):
    step = train_step.build((4, 2), 2, 64, *kind)
    step()
