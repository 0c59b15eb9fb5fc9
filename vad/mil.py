"""Multiple-instance learning: which snippets of a bag count, and what a bag's label says about them.

Rows behind a bag's end never count: they rank last, and k never exceeds the real length.
"""

import torch
from torch import Tensor
from torch.nn import functional

from vad.distributed import summed, world_size


def top_count(length: Tensor, *, ratio: int = 16, count: int | None = None, scale: int = 1) -> Tensor:
    """k of each bag, int64 (B,): `floor(length / ratio) + 1`, or a fixed `count`; times `scale`, at most the length."""
    k = length // ratio + 1 if count is None else torch.full_like(length, count)
    return torch.minimum(k * scale, length)


def ranks(score: Tensor, real: Tensor) -> Tensor:
    """Place of each row in its bag, int64 (B, L): 0 for the largest score; of equal scores the earlier row is first."""
    order = torch.sort(score.masked_fill(~real, -torch.inf), dim=1, descending=True, stable=True).indices
    places = torch.arange(score.shape[1], device=score.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def highest(value: Tensor, among: Tensor, count: Tensor) -> Tensor:
    """The `count` largest values among some rows of each bag, or all of them if there are fewer: bool (B, L)."""
    return among & (ranks(value, among) < count[:, None])


def bag_probability(logit: Tensor, chosen: Tensor, *, of: str = "probability") -> Tensor:
    """Probability of each bag, fp32 (B,), from its chosen rows.

    Args:
        logit: (B, C, L), of each crop.
        chosen: Bool (B, L), at least one in each bag.
        of: `probability` averages probabilities (UR-DMU, VadCLIP), `logit` averages logits (XDVioDet).
    """
    weight = chosen[:, None].float()
    count = weight.sum((1, 2)) * logit.shape[1]
    if of == "logit":
        return ((logit.float() * weight).sum((1, 2)) / count).sigmoid()
    return (logit.float().sigmoid() * weight).sum((1, 2)) / count


def cross_entropy(probability: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of each probability, fp32, finite also at 0 and 1."""
    probability = probability.float().clamp(1e-6, 1 - 1e-6)
    return functional.binary_cross_entropy(probability, target.float().expand_as(probability), reduction="none")


def smoothness(probability: Tensor, real: Tensor) -> Tensor:
    """Summed squared differences of neighbouring rows of each bag, (B,): mean over crops of (B, C, L)."""
    both = (real[:, 1:] & real[:, :-1])[:, None]
    return ((probability[..., 1:] - probability[..., :-1]).square() * both).sum(-1).mean(1)


def sparsity(probability: Tensor, real: Tensor) -> Tensor:
    """Summed probability of the rows of each bag, (B,): mean over crops of (B, C, L)."""
    return (probability * real[:, None]).sum(-1).mean(1)


def global_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the rows of all processes, 0 where all weights are; its gradient is this process's share.

    Gradients are averaged over processes, so the share is multiplied by their number.
    """
    total = summed(weight.detach().float().sum())
    return (values * weight).sum() * world_size() / total.clamp_min(1e-6)


def ramp(progress: float, *, warmup: float, rise: float) -> float:
    """0 during the share `warmup` of the schedule, then linearly up to 1 over the share `rise`."""
    if progress < warmup:
        return 0.0
    return min(1.0, (progress - warmup) / rise) if rise > 0 else 1.0
