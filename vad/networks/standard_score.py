"""Features in units of their own deviation over the training material."""

import torch
from torch import Tensor, nn

from vad.distributed import summed


class StandardScore(nn.Module):
    """Subtracts the mean of each channel and divides by its deviation, both over all rows seen in training so far.

    A channel that did not vary is only centred.

    Unlike BatchNorm it treats a row alike in training and in scoring, whatever else is in the batch.

    Args:
        dim: Channels.
    """

    moments: Tensor  # float64 (2, dim): sums of values and of their squares
    count: Tensor  # float64 (), rows

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("moments", torch.zeros(2, dim, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        """(B, T, dim), of which those rows count that bool (B, T) says, to (B, T, dim)."""
        if self.training:
            seen = rows.detach()[real].double()
            self.moments += summed(torch.stack([seen.sum(0), seen.square().sum(0)]))
            self.count += summed(real.sum().double())
        mean, square = self.moments / self.count.clamp_min(1)
        variance = square - mean.square()
        deviation = torch.where(variance > 1e-12, variance, 1).sqrt()
        return (rows - mean.to(rows.dtype)) / deviation.to(rows.dtype)
