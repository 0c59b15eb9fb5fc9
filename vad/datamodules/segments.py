"""Segments: any number of snippets as a bag of a fixed number of rows."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Pooling = Literal["pad", "mean"]


def segment_bounds(count: int, segments: int) -> np.ndarray:
    """Segment i of `count` rows is [bounds[i], bounds[i + 1]), int64 (segments + 1,).

    Rounded as all public code since Sultani et al. (CVPR 2018) does, but not in its 16 bits.
    """
    return np.linspace(0, count, segments + 1).astype(np.int64)


def pooled_length(count: int, segments: int | None, pooling: Pooling) -> int:
    """How many rows `pool` makes of `count` rows."""
    if segments is None:
        return count
    return segments if pooling == "mean" else min(count, segments)


def pool(rows: Tensor, segments: int | None, pooling: Pooling) -> Tensor:
    """Mean over the rows of each segment, summed in float32.

    Args:
        rows: (n, ...), at least one.
        segments: How many rows there should be; `None` leaves all as they are.
        pooling: With fewer rows than segments, `mean` takes the row at which an empty segment starts, and `pad` leaves
            the rows as they are.

    Returns:
        float32 (`pooled_length`, ...).
    """
    count, rows = len(rows), rows.float()
    if segments is None or count == segments or (pooling == "pad" and count < segments):
        return rows
    bounds = segment_bounds(count, segments)
    if count < segments:  # a segment has one row or none
        return rows[torch.from_numpy(bounds[:-1])]
    sizes = torch.from_numpy(np.diff(bounds))
    total = rows.new_zeros((segments, *rows.shape[1:]))
    total.index_add_(0, torch.repeat_interleave(torch.arange(segments), sizes), rows)
    return total / sizes.view(-1, *[1] * (rows.ndim - 1))
