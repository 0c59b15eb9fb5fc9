"""BatchNorm's statistics: estimated anew, and over one process as torch has them (over two: test_two_processes)."""

import pytest
import torch
from torch import nn

from vad.training.batchnorm import GlobalBatchNorm, estimating_batchnorm, synchronise_batchnorm


def test_an_estimate_is_the_average_of_the_batches_with_the_weights_fixed() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.9)).eval()
    network(torch.randn(4, 2, 5, 5))
    batches = [torch.randn(4, 2, 5, 5) * scale for scale in (1.0, 3.0, 0.5)]
    with estimating_batchnorm(network), torch.no_grad():
        assert network[1].training and not network[2].training
        for batch in batches:
            network(batch)
    features = [network[0](batch).detach() for batch in batches]
    mean = torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0)
    variance = torch.stack([f.var((0, 2, 3)) for f in features]).mean(0)
    torch.testing.assert_close(network[1].running_mean, mean)
    torch.testing.assert_close(network[1].running_var, variance)
    assert network[1].momentum == pytest.approx(0.1) and not network[1].training


def test_one_process_leaves_every_batchnorm_as_it_is() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3))
    before = network[0]
    synchronise_batchnorm(network, torch.device("cpu"))
    assert network[0] is before


def test_global_batchnorm_of_one_process_is_batchnorm() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3, 4, 4)
    ours, torchs = GlobalBatchNorm(3), nn.BatchNorm2d(3)
    torch.testing.assert_close(ours(x), torchs(x))
    torch.testing.assert_close(ours.running_var, torchs.running_var)
