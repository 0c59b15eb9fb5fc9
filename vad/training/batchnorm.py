"""BatchNorm over the global batch, on any device, and statistics that are estimated anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from vad.distributed import world_size


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm whose training statistics are those of all processes' samples together, gradients included.

    `torch.nn.SyncBatchNorm` refuses to train on a CPU; this is plain autograd over an all-reduce of sum, sum of squares
    and count in float64, and the same as `BatchNorm` where there is one process.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(input)
        channels = [1, -1, *([1] * (input.dim() - 2))]
        others = [0, *range(2, input.dim())]
        values = input.float()
        sums = [v.sum(others, dtype=torch.float64) for v in (values, values.square())]
        count = sums[0].new_tensor([input.numel() / input.shape[1]])
        total: Tensor = all_reduce(torch.cat([*sums, count]), op=dist.ReduceOp.SUM)  # type: ignore[no-untyped-call]  # torch's
        samples = total[-1]
        mean = total[: input.shape[1]] / samples
        variance = (total[input.shape[1] : -1] / samples - mean.square()).clamp_min(0)
        self._track(mean.detach(), variance.detach() * samples / (samples - 1))
        scale = (variance + self.eps).rsqrt()
        normal = (values - mean.float().view(channels)) * scale.float().view(channels)
        if self.affine:
            normal = normal * self.weight.view(channels) + self.bias.view(channels)
        return normal.to(input.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def synchronise_batchnorm(module: nn.Module, device: torch.device) -> None:
    """Make every BatchNorm below `module` one over all processes: torch's own on a GPU, ours elsewhere.

    Names, parameters and buffers stay the same objects, so checkpoints and optimisers do not notice. Nothing happens
    where there is one process.
    """
    if world_size() == 1:
        return
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            replacement = (nn.SyncBatchNorm if device.type == "cuda" else GlobalBatchNorm)(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            )
            for key, tensor in (*child.named_parameters(), *child.named_buffers()):
                setattr(replacement, key, tensor)
            replacement.train(child.training)
            setattr(module, name, replacement)
        else:
            synchronise_batchnorm(child, device)


@contextmanager
def estimating_batchnorm(module: nn.Module) -> Iterator[None]:
    """Inside, forward passes give every BatchNorm the plain average of its batches' statistics, starting afresh.

    The rest of the module stays as it is: with dropout off, statistics are those of the network that scores.
    """
    norms: list[tuple[_BatchNorm, Any, bool]] = [
        (norm, norm.momentum, norm.training) for norm in module.modules() if isinstance(norm, _BatchNorm)
    ]
    for norm, _, _ in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative average
        norm.train()
    try:
        yield
    finally:
        for norm, momentum, training in norms:
            norm.momentum = momentum
            norm.train(training)
