"""Heads to one score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from vad.errors import ScoresError

Fusion = Literal["single", "mean", "zscore"]

UNTRAINED = 20.0  # what LBR's published code gives to a box in a band without any training sample


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

    `single`: the one head as it is. `mean`: the weighted mean. `zscore`: each head minus its mean over its deviation on
    the training samples of its group, from below at `clip` if given, times its weight, summed.

    Our choice: under `zscore` a head that did not vary in training is only centred, and a group without any training
    sample gets 20, as LBR's published code paints a box of a band without a model.

    Raises `ScoresError` for weights that are negative or name other heads, and for statistics that are missing.
    """
    heads = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    if not heads:
        raise ScoresError("fusion: there is no head to fuse")
    if len({column.shape for column in heads.values()}) != 1:
        raise ScoresError(f"fusion: the heads {', '.join(heads)} differ in length")
    if weights is not None and set(weights) != set(heads):
        raise ScoresError(f"fusion: weights are given for {', '.join(weights)}, but the heads are {', '.join(heads)}")
    weight = {name: 1.0 if weights is None else float(weights[name]) for name in heads}
    if any(not 0 <= w < np.inf for w in weight.values()) or sum(weight.values()) == 0:
        raise ScoresError("fusion: weights must be finite, not negative, and not all zero")
    if kind == "single":
        if len(heads) != 1:
            raise ScoresError(f"fusion 'single' takes one head, there are {', '.join(heads)}: choose mean or zscore")
        return next(iter(heads.values()))
    if kind == "mean":
        return sum(weight[name] * column for name, column in heads.items()) / sum(weight.values())  # type: ignore[return-value]
    if kind != "zscore":
        raise ScoresError(f"fusion: expected one of {', '.join(get_args(Fusion))}, got '{kind}'")
    if statistics is None or not set(heads) <= set(statistics):
        raise ScoresError("fusion 'zscore' needs the statistics of every head on training samples")
    shape = next(iter(heads.values())).shape
    index = np.zeros(shape, dtype=np.int64) if group is None else np.asarray(group, dtype=np.int64)
    fused = np.zeros(shape)
    untrained = np.zeros(shape, dtype=bool)
    for name, column in heads.items():
        known = statistics[name]
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(known):
            raise ScoresError(f"fusion: head '{name}' has statistics of {len(known)} groups, the scores name others")
        mean = np.array([s.mean for s in known], dtype=np.float64)
        deviation = np.array([s.deviation or 1.0 for s in known], dtype=np.float64)
        z = (column - mean[index]) / deviation[index]
        fused += weight[name] * (z if clip is None else np.maximum(z, clip))
        untrained |= np.array([s.count == 0 for s in known])[index]
    return np.where(untrained, UNTRAINED, fused)


def lowest(
    statistics: Statistics,
    *,
    kind: Fusion,
    weights: Mapping[str, float] | None = None,
    clip: float | None = None,
) -> float:
    """A score that no training sample lies below: the fused minima of the heads, the least over groups that have
    samples.

    For scores that are fused anew, where the lowest fused score itself is not known; every fusion is monotone in its
    heads.
    """
    groups = [g for g, s in enumerate(next(iter(statistics.values()))) if s.count > 0]
    if not groups:
        raise ScoresError("fusion: the statistics of the heads hold no training sample")
    columns = {name: np.array([known[g].minimum for g in groups]) for name, known in statistics.items()}
    fused = fuse(columns, statistics, kind=kind, weights=weights, clip=clip, group=np.array(groups))
    return float(fused.min())
