"""How do scores of objects or snippets become scores of frames? Pure functions, and the steps of published chains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vad.types import Record

Fusion = Literal["single", "mean", "zscore"]


@dataclass(frozen=True)
class HeadStatistics:
    """One head's scores on training samples of one group, in float64."""

    count: int
    mean: float
    deviation: float  # of the population
    minimum: float


Statistics = Mapping[str, Sequence[HeadStatistics]]  # head -> one for each group


def fuse(
    columns: Mapping[str, np.ndarray],
    statistics: Statistics | None,
    *,
    kind: Fusion,
    weights: Mapping[str, float] | None = None,
    clip: float | None = None,
    group: np.ndarray | None = None,
) -> np.ndarray:
    """Join the heads' columns float32 (N,) to one score float64 (N,).

    `single`: the one head as it is. `mean`: the weighted mean. `zscore`: each head minus its mean over its deviation on the
    training samples of its group, from below at `clip` if given, times its weight, summed.
    """
    raise NotImplementedError


def frame_scores(record: Record, score: np.ndarray, *, floor: float) -> list[np.ndarray]:
    """Scores of frames, one float64 (n,) for each video of the record.

    Objects: the maximum over a frame's boxes, `floor` for a frame without any. Snippets: the score of the snippet that
    covers the frame (the mean where several do), the last one repeated to the end. Frames: as they are.
    """
    raise NotImplementedError


def apply_chain(chain: Sequence[Mapping[str, Mapping[str, Any]]], record: Record, score: np.ndarray) -> list[np.ndarray]:
    """Run a published chain: each step a mapping of one key, a function of this module and its arguments."""
    raise NotImplementedError
