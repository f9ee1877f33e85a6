"""What is recorded of a training."""

import torch

from dkd.training import log


def test_many_iterations_become_windows_of_about_the_same_length():
    losses = torch.arange(7.0)
    found = log.windows(losses, 2, log.POINTS // 3)
    assert found == [
        {"iteration": 10, "epoch": 1.4286, "total": 1.0},
        {"iteration": 12, "epoch": 1.7143, "total": 3.5},
        {"iteration": 14, "epoch": 2.0, "total": 5.5},
    ]
    assert log.windows(losses, 3, 10 * log.POINTS) == [{"iteration": 21, "epoch": 3.0, "total": 3.0}]
    assert len(log.windows(losses, 1, 1)) == 7
