"""Bags made on the spot, and a detector in the middle of its schedule, for tests of single steps."""

from collections.abc import Sequence
from types import SimpleNamespace

import torch

from vad.methods.mil_detector import Bags, MILDetector
from vad.types import BagBatch


def bag_batch(
    length: Sequence[int], label: Sequence[int], *, dims: Sequence[int] = (6,), crops: int = 1, seed: int = 0
) -> BagBatch:
    """Noise of 2 values more in the first feature of an abnormal bag's first third, zeros behind the length."""
    random = torch.Generator().manual_seed(seed)
    real = torch.arange(max(length)) < torch.tensor(length)[:, None]
    streams = []
    for dim in dims:
        stream = torch.randn(len(length), crops, max(length), dim, generator=random)
        for bag, n in enumerate(length):
            stream[bag, :, : n // 3 + 1, 0] += 2 * label[bag]
        streams.append((stream * real[:, None, :, None]).half())
    return BagBatch(
        streams=tuple(streams),
        length=torch.tensor(length),
        label=torch.tensor(label),
        key=torch.arange(len(length)),
        size=len(length),
    )


def bags_of(
    score: torch.Tensor, embedding: torch.Tensor | None = None, *, label: Sequence[int], length: Sequence[int]
) -> Bags:
    """What a network would have said: scores (B, C, L) and embeddings (B, C, L, P)."""
    lengths = torch.tensor(length)
    real = torch.arange(score.shape[-1]) < lengths[:, None]
    return Bags(score.logit(), embedding, real, lengths, torch.tensor(label), torch.arange(len(label)))


def at(model: MILDetector, progress: float) -> MILDetector:
    """The detector at a share of its schedule, without a trainer."""
    model.trainer = SimpleNamespace(global_step=round(1000 * progress), estimated_stepping_batches=1000)  # type: ignore
    model._seen = [{}]
    return model
