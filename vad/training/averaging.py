"""An exponential moving average of weights, as a part of the module that is averaged: checkpoints carry it."""

import copy

import torch
from torch import Tensor, nn


def _floating(module: nn.Module) -> list[Tensor]:
    return [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]


class WeightAverage(nn.Module):
    """A copy of a module whose parameters and statistics follow it slowly; it gets no gradients.

    Early on the average forgets faster: after t steps the decay is at most (t + 1) / (t + 10), so that the first
    weights, which are random, leave it soon.

    Args:
        module: What is averaged; it stays the caller's.
        decay: Share of the average that a step keeps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, steps: int) -> None:
        """Move the average towards the module's weights as they are after so many steps."""
        share = 1 - min(self.decay, (steps + 1) / (steps + 10))
        torch._foreach_lerp_(_floating(self.module), _floating(module), share)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Put the average in the module's place."""
        module.load_state_dict(self.module.state_dict())
