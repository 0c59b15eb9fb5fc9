"""The moving average of weights."""

import torch
from torch import nn

from vad.training.averaging import WeightAverage


def test_the_average_follows_the_weights_and_forgets_the_first_ones_soon() -> None:
    module = nn.BatchNorm1d(1)
    average = WeightAverage(module, 0.9)
    expected = float(module.weight.detach())
    for step in range(1, 200):
        value = float(step % 7)
        nn.init.constant_(module.weight, value)
        average.update(module, step)
        decay = min(0.9, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * value
    assert torch.isclose(average.module.weight, torch.tensor(expected), atol=1e-5)
    average.copy_to(module)
    assert torch.equal(module.weight, average.module.weight)


def test_the_average_gets_no_gradients_and_is_a_part_of_the_state() -> None:
    average = WeightAverage(nn.Linear(2, 2), 0.9)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert set(average.state_dict()) == {"module.weight", "module.bias"}


def test_running_statistics_are_averaged_too() -> None:
    module = nn.BatchNorm1d(1)
    average = WeightAverage(module, 0.5)
    module.running_mean.fill_(8.0)
    average.update(module, 1000)
    assert float(average.module.running_mean) == 4.0
